"""Bytes that all nodes share: in buckets, and in the memory of other servers."""
