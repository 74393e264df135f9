"""What an operator may say: settings and secrets. Knows files."""
