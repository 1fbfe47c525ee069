"""Weights and checkpoints on disk, without pickle."""
