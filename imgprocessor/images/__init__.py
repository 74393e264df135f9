"""Pixels: the only package that knows Pillow, from an original's bytes to a rendition's."""
