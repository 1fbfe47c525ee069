"""How kernels are compiled: without the GIL, once per machine and version of their sources.

Numba's on-disk cache looks at the file of the compiled function only. A kernel that calls one of
another file would keep the old callee when that file changes, and with it an old layout of the
shared arrays. So the name of the cache folder has the hash of all kernel sources in it.
"""

import gc
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from numba import config, njit
from numba.core.registry import cpu_target

from tokenizer.kernels.sources import kernels_folder
from tokenizer.kernels.untyped import Untyped


def kernel(function: Callable[..., Untyped]) -> Untyped:
    """Compile a function at its first call, or load it from the cache of these sources."""
    settings: Untyped = config  # its attributes come from environment variables
    folder = settings.CACHE_DIR
    settings.CACHE_DIR = str(cache_folder())
    try:
        return njit(cache=True, nogil=True)(function)
    finally:
        settings.CACHE_DIR = folder


def inlined(function: Callable[..., Untyped]) -> Untyped:
    """Compile a function into each kernel that calls it."""
    return njit(inline="always")(function)


def _prepare_numba() -> None:
    """Do what Numba does at the first kernel, in half the time (0.16 for 0.33 s, measured).

    Numba imports SciPy there to learn whether BLAS could be called. It is enough that SciPy can be
    found: the first kernel that calls BLAS imports it. The garbage collector is off meanwhile,
    because the many objects that are made here all stay.
    """
    linalg: Untyped = import_module("numba.np.linalg")
    # A Numba without this function imports no SciPy here.
    ensure_blas = getattr(linalg, "ensure_blas", None)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        if ensure_blas is not None and find_spec("scipy") is not None:
            linalg.ensure_blas = lambda: None
        arraymath: Untyped = import_module("numba.np.arraymath")
        cpu_target.target_context.refresh()
    finally:
        if ensure_blas is not None:
            linalg.ensure_blas = ensure_blas
        if was_enabled:
            gc.enable()
    if ensure_blas is not None:
        arraymath.ensure_blas = ensure_blas


_prepare_numba()


def cache_folder() -> Path:
    """Return the folder in which kernels of these sources are kept."""
    settings: Untyped = config
    return kernels_folder(settings.CACHE_DIR)
