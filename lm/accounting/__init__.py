"""Parameters, FLOPs, memory and time of a model, counted from its configuration alone."""
