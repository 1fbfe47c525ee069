"""The vocabulary files that other tools read."""
