"""Where originals come from: the folder, and other hosts."""
