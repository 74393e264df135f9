"""What is kept: purged, and looked after where nodes share it."""
