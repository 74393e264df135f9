"""Originals from other hosts, by HTTP."""
