"""Switches of the whole process that a plan asks for, set for a while and then restored.

They change speed; fp32 products stay true fp32 (`lm/machine/probe.py` checks that before it asks).
"""

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from lm.machine.probe import FP32_MATMUL_SWITCHES, Plan

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Numbers of two parameters of `mallopt`, from glibc's malloc.h."""

_DEFAULT_TRIM_THRESHOLD, _DEFAULT_MMAP_MAX = 128 * 1024, 65_536
"""Their defaults in glibc."""

_NEVER_TRIM = 2**31 - 1


@dataclass(frozen=True, slots=True)
class _Glibc:
    """The allocator's switches, where the C library is glibc."""

    library: ctypes.CDLL

    def keep_memory(self) -> None:
        """Keep freed memory in the process.

        By default large blocks go back to the system at once, and each new one costs a page
        fault every 4 KiB: a fifth of an eager training step.
        """
        self.library.mallopt(_M_MMAP_MAX, 0)
        self.library.mallopt(_M_TRIM_THRESHOLD, _NEVER_TRIM)

    def return_memory(self) -> None:
        """Restore the defaults and return free memory to the system."""
        self.library.mallopt(_M_MMAP_MAX, _DEFAULT_MMAP_MAX)
        self.library.mallopt(_M_TRIM_THRESHOLD, _DEFAULT_TRIM_THRESHOLD)
        self.library.malloc_trim(0)


def _find_glibc() -> _Glibc | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    has_switches = hasattr(library, "mallopt") and hasattr(library, "gnu_get_libc_version")
    return _Glibc(library) if has_switches else None


@contextlib.contextmanager
def planned_backend(plan: Plan) -> Iterator[None]:
    """Set threads, route of fp32 products and allocator as the plan says; restore them after."""
    threads_before = torch.get_num_threads()
    precision_before = torch.get_float32_matmul_precision()
    glibc = _find_glibc() if plan.fast and plan.device == "cpu" else None
    torch.set_num_threads(plan.num_threads)
    torch.set_float32_matmul_precision(FP32_MATMUL_SWITCHES[plan.fp32_matmul])
    if glibc is not None:
        glibc.keep_memory()
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        torch.set_float32_matmul_precision(precision_before)
        if glibc is not None:
            glibc.return_memory()
