"""Own telling the user, once, why the very first use takes longer: kernels are being compiled."""

import logging
from functools import cache
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


@cache
def announce_compile(kernel: Any, purpose: str) -> None:
    """Log a line when a kernel is not in Numba's on-disk cache yet, so that it will be compiled."""
    folder = Path(kernel.stats.cache_path)
    if not any(folder.glob(f"*.{kernel.py_func.__name__}-*.nbi")):
        logger.info(
            "compiling the kernels for %s, once for this machine; later runs load them from %s",
            purpose,
            folder,
        )
