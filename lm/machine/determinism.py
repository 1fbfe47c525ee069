"""The same bits from the same batch, also with several threads.

Without this, compiled code adds the gradients of an embedding's rows with atomic operations, in
whatever order the threads reach them: of four equal runs on two threads, three differed.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def deterministic_kernels(device: torch.device) -> Iterator[None]:
    """Let torch use deterministic kernels on a CPU; restore its switches at the end.

    On a GPU nothing is changed: there some operators have no such kernel, and others lose speed.
    """
    enabled_before = torch.are_deterministic_algorithms_enabled()
    warn_before = torch.is_deterministic_algorithms_warn_only_enabled()
    switches: Any = torch.utils.deterministic  # Any: mypy does not see the property of this module
    fill_before = switches.fill_uninitialized_memory
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True)
        # Filling fresh memory finds errors in kernels; it costs a pass over every new tensor.
        switches.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled_before, warn_only=warn_before)
        switches.fill_uninitialized_memory = fill_before
