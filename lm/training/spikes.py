"""Which steps are skipped because their loss or gradient norm is out of all proportion."""

import math
import statistics
from collections.abc import Sequence

WINDOW = 128
"""Steps whose mean and deviation a new step is held against; none is a spike before that many."""


def is_spike(value: float, recent: Sequence[float], *, sigma: float) -> bool:
    """Tell whether a value is not finite, or more than `sigma` deviations above the recent mean.

    Only upwards: a low loss is no reason to skip. A `sigma` of 0 leaves the test for finiteness.
    """
    if not math.isfinite(value):
        return True
    if sigma <= 0 or len(recent) < WINDOW:
        return False
    mean = statistics.fmean(recent)
    return value > mean + sigma * statistics.pstdev(recent, mean)


def remember(recent: tuple[float, ...], value: float) -> tuple[float, ...]:
    """Append a value and keep the last `WINDOW`."""
    return (*recent, value)[-WINDOW:]
