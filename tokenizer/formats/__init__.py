"""Vocabulary files: our folder of them, and the formats that other tools read."""
