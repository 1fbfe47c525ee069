"""The Transformer as the course writes it, from primitives ("faithful")."""
