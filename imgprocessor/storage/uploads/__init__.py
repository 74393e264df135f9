"""Uploads, kept for good."""
