"""Which process builds, so that its death is noticed at once where it can be looked up.

A process number means something only on one machine, from one start of it to the next, and in one
container. So a boot and a namespace are part of the name, and the process's own start time, because
numbers are used again. Elsewhere nothing can be told, and only silence shows a death.
"""

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_START_TIME_FIELD = 19
"""Place of the start time after the command's name in /proc/<pid>/stat (proc(5), field 22)."""


@dataclass(frozen=True, slots=True)
class BuilderProcess:
    """A process, named so that no other one on any machine has the same name."""

    boot: str
    """Boot of the machine, and the namespace that the number is of; empty: unknown."""
    pid: int
    started: str
    """Start in ticks since the boot; empty: unknown."""


def this_process() -> BuilderProcess:
    """Return the name of this process."""
    _, started = _status(os.getpid())
    return BuilderProcess(_boot(), os.getpid(), started)


def is_dead(process: BuilderProcess) -> bool:
    """Return whether the process is known to have ended; False where it cannot be looked up."""
    if not process.boot or process.boot != _boot() or process.pid <= 0:
        return False
    try:
        os.kill(process.pid, 0)  # sends nothing, and sees processes that /proc hides
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass  # it is there, and somebody else's
    state, started = _status(process.pid)
    return state in ("Z", "X") or bool(started and process.started and started != process.started)


def _boot() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:  # no Linux
        return ""


def _status(pid: int) -> tuple[str, str]:
    """Return a process's state letter and its start time; empty where they cannot be read."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return "", ""
    fields = text.rpartition(")")[2].split()  # a command's name may hold blanks and brackets
    return fields[0], fields[_START_TIME_FIELD]
