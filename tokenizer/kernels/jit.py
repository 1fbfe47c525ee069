"""Own how kernels are compiled: without the GIL, once per machine and state of their sources.

Numba's on-disk cache looks at the file of the compiled function only. A kernel that calls one of
another file would keep the old callee when that file changes, and with it an old layout of the
shared arrays. So the cache folder's name has the hash of all kernel sources in it.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import config, njit

_SOURCES = Path(__file__).parent


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function at its first call, or load it from the cache of these very sources."""
    settings: Any = config  # its attributes come from environment variables
    folder = settings.CACHE_DIR
    settings.CACHE_DIR = str(_cache_folder(folder or str(_SOURCES / "__pycache__")))
    try:
        return njit(cache=True, nogil=True)(function)
    finally:
        settings.CACHE_DIR = folder


@cache
def _cache_folder(parent: str) -> Path:
    return Path(parent) / f"kernels-{sources_digest(_SOURCES)[:16]}"


def sources_digest(folder: Path) -> str:
    """Return the sha256 over all Python files of a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
