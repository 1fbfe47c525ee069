"""What a training run consists of, and one step on it. Start with `step.py`."""
