"""Moments: changes to the disk below a data root, counted, and the signal at one of them.

Python tells an audit hook of each change before the system call. The number and the path of the
last one are in memory that the parent sees, also after the process was killed.
"""

import mmap
import os
import re
import signal
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

CHANGES = frozenset(
    ("os.link", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate")
)
_SIZE = 1024
_HEAD = struct.Struct("<qH")
_STAGE = re.compile(r"/(?:artifacts|\.staging|\.leases|\.checked|\.used|\.needs)/([a-z][a-z_]+)/")


@dataclass(frozen=True)
class Moment:
    """The last change that a process was about to make."""

    number: int
    event: str
    path: str

    @property
    def stage(self) -> str:
        """The stage whose files it touched, or what else it was."""
        found = _STAGE.search(self.path)
        if found:
            return found.group(1)
        return next((name for name in ("mlflow", "prefect", "memo") if f"/{name}" in self.path), "")

    @property
    def what(self) -> str:
        """What was about to happen, in a few words."""
        kinds = {
            "record.json": "record",
            "/checkpoints/": "checkpoint",
            "/parts/": "part",
            "/data/": "data of a part",
            "/attempt-": "publish",
            "/.leases/": "lease",
            "/.checked/": "stamps",
            "/.used/": "used",
            "/.needs/": "needs",
            "merges.checkpoint": "merges",
            "/mirror": "mirror",
            "/work/": "work",
        }
        return next((kind for part, kind in kinds.items() if part in self.path), "other")


class Moments:
    """Counts the changes of an attempt, and sends it a signal before one of them."""

    def __init__(self, at: int = -1, number: signal.Signals = signal.SIGKILL) -> None:
        self._memory = mmap.mmap(-1, _SIZE)
        self._at = at
        self._signal = number
        self._root = ""
        self._count = 0

    def watch(self, root: Path) -> None:
        """Begin to count the changes below a folder, in this process."""
        self._root = f"{root}/"
        sys.addaudithook(self._on_event)

    def unwatch(self) -> None:
        """Count no more; a hook cannot be removed."""
        self._root = ""

    def last(self) -> Moment:
        """Return the last change, as seen from any process."""
        number, length = _HEAD.unpack_from(self._memory)
        text = self._memory[_HEAD.size : _HEAD.size + length].decode("utf-8", "replace")
        event, _, path = text.partition(" ")
        return Moment(number, event, path)

    def _on_event(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self._root or event not in CHANGES | {"open"}:
            return
        if event == "open" and not _is_writing(arguments):
            return
        paths = [os.fsdecode(item) for item in arguments if isinstance(item, str | bytes)]
        path = next((item for item in reversed(paths) if item.startswith(self._root)), None)
        if path is None:
            return
        path = path.removeprefix(self._root)
        if path.startswith("artifacts/"):  # what MLflow and Prefect write is hit at random times
            self._note(event, path)
            if self._count - 1 == self._at:
                os.kill(os.getpid(), self._signal)

    def _note(self, event: str, path: str) -> None:
        text = f"{event} /{path}".encode("utf-8", "replace")[: _SIZE - _HEAD.size]
        self._memory[_HEAD.size : _HEAD.size + len(text)] = text
        _HEAD.pack_into(self._memory, 0, self._count, len(text))
        self._count += 1


def _is_writing(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2] if len(arguments) > 2 else 0
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
