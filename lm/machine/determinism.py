"""The same bits from the same batch, also with several threads.

Without this, compiled code adds the gradients of an embedding's rows with atomic operations, in
whatever order the threads reach them: of four equal runs on two threads, three differed.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

CUBLAS_SETTING = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""Environment that cuBLAS needs for equal results, before CUDA starts (cuBLAS documentation,
"Results reproducibility")."""


@contextlib.contextmanager
def deterministic_kernels(device: torch.device, *, on_gpu: bool = False) -> Iterator[None]:
    """Let torch use deterministic kernels on a CPU; restore its switches at the end.

    On a GPU only where `on_gpu` asks for it: there some operators have no such kernel, and others
    lose speed. The compiler then takes no measurements, which would choose another order of
    summation in another process. cuBLAS needs CUBLAS_WORKSPACE_CONFIG=:4096:8 in the environment
    of the process; without it torch raises an error that says so.
    """
    enabled_before = torch.are_deterministic_algorithms_enabled()
    warn_before = torch.is_deterministic_algorithms_warn_only_enabled()
    switches: Any = torch.utils.deterministic  # Any: mypy does not see the property of this module
    fill_before = switches.fill_uninitialized_memory
    is_on_gpu = on_gpu and device.type == "cuda"
    if device.type == "cpu" or is_on_gpu:
        torch.use_deterministic_algorithms(True)
        # Filling fresh memory finds errors in kernels; it costs a pass over every new tensor.
        switches.fill_uninitialized_memory = False
    try:
        with _compiler_without_measurements() if is_on_gpu else contextlib.nullcontext():
            yield
    finally:
        torch.use_deterministic_algorithms(enabled_before, warn_only=warn_before)
        switches.fill_uninitialized_memory = fill_before


@contextlib.contextmanager
def _compiler_without_measurements() -> Iterator[None]:
    from torch._inductor import config  # takes a second; only here

    values: Any = config
    if not hasattr(values, "deterministic"):  # before torch 2.9
        yield
        return
    with values.patch(deterministic=True):
        yield


def why_not_deterministic(device: str, *, is_deterministic: bool, has_clock: bool) -> str:
    """Return why an equal run may give other bytes, or an empty string: `clock` or `device`."""
    if has_clock:
        return "clock"
    return "" if device == "cpu" or is_deterministic else "device"
