"""Where the work is done: the processor, as it names itself."""

import platform
from functools import cache
from pathlib import Path


@cache
def processor_name() -> str:
    """Return the processor's model, for figures of speed; the architecture where it has no name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
