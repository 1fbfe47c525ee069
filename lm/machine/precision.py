"""The number format of matrix products."""

from contextlib import AbstractContextManager, nullcontext

import torch

from lm.config import Precision


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Return the context in which products run in bf16 where `precision` says so.

    Weights, gradients and optimizer state stay fp32.
    """
    if precision != "bf16":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
