"""The largest resident memory of this process, measured over one stage where Linux allows it."""

import resource
import sys
from pathlib import Path

CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")
RESET_PEAK = "5"
"""Written to `clear_refs`, it resets the peak that `VmHWM` reports (man 5 proc)."""


def reset_peak_memory() -> None:
    """Start a new measurement; does nothing where the system cannot."""
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
    except OSError:
        return


def peak_memory() -> int:
    """Return the peak resident memory in bytes, since the last reset or the process's start."""
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024  # macOS reports bytes, others KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
