"""Jobs: renditions that are asked for now, and fetched later."""
