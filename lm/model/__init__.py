"""The faithful Transformer, written from primitives."""
