"""The line that tells a user why the very first use takes longer: kernels are being compiled."""

import logging
from functools import cache
from pathlib import Path

from tokenizer.kernels.untyped import Untyped

logger = logging.getLogger(__name__)


@cache
def announce_compile(kernel: Untyped, purpose: str) -> None:
    """Log a line, once, when a kernel is not in Numba's on-disk cache and must be compiled."""
    folder = Path(kernel.stats.cache_path)
    if not any(folder.glob(f"*.{kernel.py_func.__name__}-*.nbi")):
        logger.info(
            "compiling the kernels for %s, once for this machine; later runs load them from %s",
            purpose,
            folder,
        )
