"""Sweeps: many trainings over one cached pipeline, each sweep a small function of data."""
