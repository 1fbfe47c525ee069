"""Entries for a leaderboard: a folder with a model and what is claimed of it, and its check."""
