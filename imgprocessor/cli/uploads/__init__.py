"""`uploads`: what operators do about uploads."""
