"""One training run from start to result. To see one step, read `loop.py`, `step/step.py`."""
