"""One training run from start to result; the top of `lm`."""
