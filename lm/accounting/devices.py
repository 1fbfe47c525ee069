"""Catalogue of GPUs: memory, and peak rates as their makers give them.

Rates are of dense products with sums in fp32, in FLOP/s; where a data sheet gives only the rate
with 2:4 sparsity, half of it. They are the usual denominator of MFU in papers. A product reaches
some ten per cent less: the pipeline's own MFU takes the rate that it measures
(`lm/machine/peak.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lm.config import Precision

_TERA = 10**12
_GB = 10**9
"""Data sheets count memory in decimal units."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """One GPU."""

    title: str
    memory_bytes: int
    peak_flops: Mapping[Precision, float]
    """FLOP/s by the number format of the products."""
    source: str
    """The maker's document that the figures are from."""


def _device(
    title: str, memory_gb: int, *, fp32: float, tf32: float, bf16: float, source: str
) -> Device:
    rates: dict[Precision, float] = {
        "fp32": fp32 * _TERA,
        "tf32": tf32 * _TERA,
        "bf16": bf16 * _TERA,
    }
    return Device(title=title, memory_bytes=memory_gb * _GB, peak_flops=rates, source=source)


DEVICES: dict[str, Device] = {
    "a100": _device(
        "NVIDIA A100 SXM 80 GB",
        80,
        fp32=19.5,
        tf32=156,
        bf16=312,
        source="A100 Tensor Core GPU data sheet, 2022",
    ),
    "h100": _device(
        "NVIDIA H100 SXM",
        80,
        fp32=66.9,
        tf32=494.7,
        bf16=989.4,
        source="H100 Tensor Core GPU Architecture white paper, table 2",
    ),
    "h200": _device(
        "NVIDIA H200 SXM",
        141,
        fp32=67,
        tf32=989 / 2,
        bf16=1979 / 2,
        source="H200 Tensor Core GPU data sheet, 2024; half of the sparse rates",
    ),
    "b200": _device(
        "NVIDIA B200 (HGX)",
        180,
        fp32=75,
        tf32=2200 / 2,
        bf16=4500 / 2,
        source="Blackwell data sheet, HGX B200 for each GPU, 2025; half of the sparse rates",
    ),
    "l40s": _device(
        "NVIDIA L40S",
        48,
        fp32=91.6,
        tf32=183,
        bf16=362.05,
        source="L40S data sheet, 2023",
    ),
    "rtx3090": _device(
        "NVIDIA GeForce RTX 3090",
        24,
        fp32=35.6,
        tf32=35.6,
        bf16=71,
        source="Ampere GA102 GPU Architecture white paper, table of the RTX 3090",
    ),
    "rtx4090": _device(
        "NVIDIA GeForce RTX 4090",
        24,
        fp32=82.6,
        tf32=82.6,
        bf16=165.2,
        source="Ada GPU Architecture white paper, appendix A",
    ),
    "rtx5090": _device(
        "NVIDIA GeForce RTX 5090",
        32,
        fp32=104.8,
        tf32=104.8,
        bf16=209.5,
        source="RTX Blackwell GPU Architecture white paper, appendix A",
    ),
}


def find_device(name: str) -> Device:
    """Return the device of this name; `ValueError` lists them."""
    if name not in DEVICES:
        raise ValueError(f"unknown device {name!r}; allowed: {', '.join(DEVICES)}")
    return DEVICES[name]
