"""The rate at which this machine multiplies large matrices; MFU is a share of it.

Measured rather than looked up, so that it is right for any processor, thread count and number
format; a vendor's figure for a GPU is some ten per cent higher than any product reaches.
"""

import time
from functools import cache

import torch

from lm.config import Precision
from lm.machine.precision import autocast

MEASURE_S = 0.5
"""Seconds of measuring. The fastest product counts, so a moment of other load does no harm."""

MATRIX_SIZES = {"cpu": 2048, "cuda": 8192, "mps": 2048}
"""Rows and columns: so many that arithmetic is the limit, so few that ten products fit the time."""


def measure_peak_flops(device: torch.device, precision: Precision) -> float:
    """Return the best of some products of square matrices, in FLOP/s; once in a process."""
    return _measure(device, precision, torch.get_num_threads())


@cache
def _measure(device: torch.device, precision: Precision, _num_threads: int) -> float:
    size = MATRIX_SIZES.get(device.type, 2048)
    left, right = (torch.ones(size, size, device=device) for _ in range(2))
    fastest = float("inf")
    began = time.perf_counter()
    with torch.no_grad(), autocast(device, precision):
        if precision == "bf16":
            left, right = left.bfloat16(), right.bfloat16()
        while time.perf_counter() - began < MEASURE_S:
            _synchronize(device)
            started = time.perf_counter()
            left @ right.T  # as a layer multiplies
            _synchronize(device)
            fastest = min(fastest, time.perf_counter() - started)
    return 2 * size**3 / fastest


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
