"""Text files: documents, byte ranges, safe cuts, windows."""
