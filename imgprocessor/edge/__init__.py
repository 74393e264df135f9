"""Writes the configuration of caches in front: Varnish, nginx, Apache's own."""
