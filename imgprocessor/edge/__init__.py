"""Configurations for caches in front."""
