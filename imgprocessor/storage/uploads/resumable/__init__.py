"""Uploads that arrive in pieces: on a disk of this node, or in a bucket."""
