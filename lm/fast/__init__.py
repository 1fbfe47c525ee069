"""Faster replacements for parts of the faithful model, each tested to give the same results."""
