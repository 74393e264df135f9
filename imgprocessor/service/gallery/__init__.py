"""Originals to be looked at: folders as pages, and documents page by page."""
