"""Originals' files without metadata: rewritten part by part, the pixels' bytes as they are."""
