"""A suspended attempt, another one that takes over and finishes, and the sleeper's awakening."""

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

from benchmarks.kills.moments import Moments


def wake_after_a_rival(pid: int, root: Path, settings: list[str]) -> list[str]:
    """Let another attempt finish while one sleeps, then wake the sleeper; return what is wrong."""
    from benchmarks.kills.attempts import fork_attempt

    silence(root)
    rival = fork_attempt(root, settings, Moments())
    _, status = os.waitpid(rival, 0)
    os.kill(pid, signal.SIGCONT)
    return [f"the rival of a sleeper ended with {status}"] if status else []


def silence(root: Path) -> None:
    """Let others take the holder for dead after a second instead of a minute."""
    for path in (root / "artifacts" / ".leases").glob("*/*/*.json"):
        with suppress(OSError, ValueError):
            note = json.loads(path.read_text())
            if note["state"] == "held":
                path.write_text(json.dumps(note | {"time_to_live_s": 1.0}))
