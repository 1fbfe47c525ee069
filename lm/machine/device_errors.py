"""Errors of a GPU, after which its process is of no more use."""

import torch

DEVICE_ERROR_EXIT = 71
"""Exit code of a worker whose GPU failed (EX_OSERR of sysexits.h)."""

_MARKS = ("CUDA error", "cuDNN error", "CUBLAS_STATUS", "NCCL error")


def is_device_error(error: BaseException) -> bool:
    """Tell whether a GPU or its library failed; too little memory is another matter."""
    if isinstance(error, torch.OutOfMemoryError) or not isinstance(error, RuntimeError):
        return False
    # torch.AcceleratorError is a RuntimeError, and newer than the oldest torch we run with.
    is_accelerators = type(error).__name__ == "AcceleratorError"
    return is_accelerators or any(mark in str(error) for mark in _MARKS)
