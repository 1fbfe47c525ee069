"""The report: one self-contained page about a run and its sweeps, drawn from artifacts alone."""
