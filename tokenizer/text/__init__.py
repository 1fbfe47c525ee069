"""Texts on disk and in streams: documents, byte ranges, windows, and the rule for safe cuts."""
