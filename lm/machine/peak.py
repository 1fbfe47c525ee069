"""The rate at which this machine multiplies large matrices; MFU is a share of it.

Measured rather than looked up, so that it is right for any processor, thread count and number
format. The data is random: products of ones draw less power, and a GPU then runs at a higher clock
than any training reaches (798 against 695 TFLOP/s on an H200). A vendor's figure is higher still;
where the card is known it is given beside the measured one.
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
    generator = torch.Generator(device).manual_seed(0)
    left, right = (torch.randn(size, size, generator=generator, device=device) for _ in range(2))
    fastest = float("inf")
    began = time.perf_counter()
    with torch.no_grad(), autocast(device, precision):
        if precision == "bf16":
            left, right = left.bfloat16(), right.bfloat16()
        while fastest == float("inf") or time.perf_counter() - began < MEASURE_S:
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


VENDOR_TFLOPS: dict[str, dict[Precision, float]] = {
    "A100": {"bf16": 312, "tf32": 156, "fp32": 19.5},
    "H100 PCIe": {"bf16": 756, "tf32": 378, "fp32": 51},
    "H100 80GB HBM3": {"bf16": 989, "tf32": 494, "fp32": 67},
    "H200": {"bf16": 989, "tf32": 494, "fp32": 67},
    "L40S": {"bf16": 362, "tf32": 183, "fp32": 91.6},
}
"""Dense TFLOP/s from NVIDIA's data sheets of these cards, by a part of the name torch gives."""


def vendor_peak_flops(card: str, precision: Precision) -> float | None:
    """Return the FLOP/s that the vendor states for a card; None for one that is not in the table.

    >>> vendor_peak_flops("NVIDIA H200", "bf16")
    989000000000000.0
    """
    for name, figures in VENDOR_TFLOPS.items():
        if name in card:
            return figures[precision] * 1e12
    return None


def card_name(device: torch.device) -> str:
    """Return the name of a GPU, or an empty string."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""
