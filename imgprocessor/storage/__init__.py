"""Bytes on disks, shared by processes. Knows nothing of pictures."""
