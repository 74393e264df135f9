"""Coordinates one request: parse, find, look up, render, keep. Does not know the web."""
