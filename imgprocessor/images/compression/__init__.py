"""Compression: pixels to bytes, as light as what the plan promises allows."""
