"""Files: find and decode images, read tables."""
