"""A GPT-style language model, written from primitives: train it, evaluate it, generate text."""
