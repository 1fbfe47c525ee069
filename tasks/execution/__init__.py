"""How a stage's artifact is built: sole builder, byte ranges, retries, processes, costs."""
