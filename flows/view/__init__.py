"""What a person sees of a run while it works: a live table in a terminal, lines elsewhere."""
