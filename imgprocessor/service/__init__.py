"""The line from a request to a picture. Knows the parts, not the web."""
