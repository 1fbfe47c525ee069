"""What a user starts: the pipeline, its plan, presets and the command line."""
