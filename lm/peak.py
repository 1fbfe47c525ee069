"""The rate at which this machine multiplies large matrices: what MFU is a share of.

Measured rather than looked up, so that it is right for any processor, thread count and number
format; a vendor's figure for a GPU is some ten per cent higher than any product reaches.
"""

import time

import torch

from lm.config import Precision
from lm.loss import autocast

REPEATS = 5
MATRIX_SIZES = {"cpu": 1024, "cuda": 8192, "mps": 2048}
"""Rows and columns; large enough to be limited by arithmetic, 30 ms in all on two CPU cores."""


def measure_peak_flops(device: torch.device, precision: Precision) -> float:
    """Return the best of a few products of square matrices, in FLOP/s."""
    size = MATRIX_SIZES.get(device.type, 1024)
    left, right = (torch.ones(size, size, device=device) for _ in range(2))
    fastest = float("inf")
    with torch.no_grad(), autocast(device, precision):
        if precision == "bf16":
            left, right = left.bfloat16(), right.bfloat16()
        for _ in range(REPEATS):
            _synchronize(device)
            started = time.perf_counter()
            left @ right
            _synchronize(device)
            fastest = min(fastest, time.perf_counter() - started)
    return 2 * size**3 / fastest


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
