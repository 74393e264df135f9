"""The commands that look into the policy."""
