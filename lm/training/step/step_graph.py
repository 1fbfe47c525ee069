"""A whole training step as one CUDA graph, for small batches.

What changes between steps is in tensors: the windows, the learning rates, and all that the device
remembers (`lm/training/step/ahead.py`).
"""

from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Tensor

from lm.machine.cuda_graph import Recorded, Work, record_cuda_graph

Step = Callable[[Tensor, list[Tensor]], None]
"""Gets windows and learning rates, and asks the host nothing."""


class StepGraph:
    """Takes steps through fixed tensors."""

    def __init__(
        self,
        step: Step,
        num_rates: int,
        device: torch.device,
        *,
        record: Callable[[Work], Work] = record_cuda_graph,
    ) -> None:
        self._rates = [torch.zeros((), device=device) for _ in range(num_rates)]
        self._windows = torch.empty(0, dtype=torch.int64, device=device)
        self._recorded = Recorded(lambda: step(self._windows, self._rates), device, record=record)

    def forget(self) -> None:
        """Drop the recording: weights or optimizer state were replaced."""
        self._recorded.forget()

    def take(self, windows: Int[Tensor, "batch window"], rates: list[float]) -> None:
        """Take one step with these windows and learning rates."""
        if self._windows.shape != windows.shape:
            self._windows = torch.empty_like(windows)
            self._recorded.forget()
        self._windows.copy_(windows)
        for value, rate in zip(self._rates, rates, strict=True):
            value.fill_(rate)
        self._recorded()
