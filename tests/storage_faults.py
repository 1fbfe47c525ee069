"""Faults of a storage: what `memory://` answers instead of doing its work, for tests of the rest.

Transient ones: `reset` (before anything was done), `answer lost` (after all was done), `503`,
`slow`, `truncated` (a read gives its first half), `lost` (the answer to a write or a removal is
yes, and nothing was done).
Permanent ones: `full`, `forbidden`.
"""

import errno
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

READS = ("cat_file", "info", "ls", "find", "exists")
WRITES = ("pipe_file", "put_file", "cp_file", "rm_file")

ERRORS = {
    "reset": ConnectionResetError(errno.ECONNRESET, "connection reset by peer"),
    "503": OSError(errno.EBUSY, "SlowDown: please reduce your request rate"),
    "full": OSError(errno.ENOSPC, "no space left on device"),
    "forbidden": PermissionError(errno.EACCES, "AccessDenied: forbidden"),
}

_inside = threading.local()


@dataclass
class Faults:
    """Which requests fail: the next ones by method, then a share of the others, drawn by a seed."""

    at: dict[str, list[str]] = field(default_factory=dict)
    """By method: the faults of its next calls."""
    share: float = 0.0
    """Of each kind, so that with six kinds of 0.05 nearly three in ten requests may fail."""
    kinds: tuple[str, ...] = ()
    methods: tuple[str, ...] = READS + WRITES
    draw: random.Random = field(default_factory=lambda: random.Random(0))
    seen: Counter[str] = field(default_factory=Counter)
    """How often each fault came."""

    def next(self, method: str) -> str:
        """Return the fault of a request; "" for none."""
        fault = ""
        if self.at.get(method):
            fault = self.at[method].pop(0)
        elif method in self.methods:
            drawn = [kind for kind in self.kinds if self.draw.random() < self.share]
            fault = next((kind for kind in drawn if fits(kind, method)), "")
        self.seen[fault] += bool(fault)
        return fault


def fits(kind: str, method: str) -> bool:
    """Return whether a request of this kind can fail so."""
    if kind == "truncated":
        return method == "cat_file"
    if kind == "lost":
        return method in WRITES
    return True


def inject(monkeypatch: pytest.MonkeyPatch, faults: Faults) -> Faults:
    """Let every request to memory:// ask `faults` first."""
    for method in READS + WRITES:
        monkeypatch.setattr(MemoryFileSystem, method, _faulty(method, faults))
    return faults


def _faulty(method: str, faults: Faults) -> Any:
    work = getattr(MemoryFileSystem, method)

    def request(self: MemoryFileSystem, *args: Any, **kwargs: Any) -> Any:
        inner = getattr(_inside, "request", False)  # find() calls ls(): one request of ours is one
        fault = "" if inner else faults.next(method)
        if fault in ERRORS:
            raise ERRORS[fault]
        if fault == "lost":
            return None
        if fault == "slow":
            time.sleep(0.01)
        _inside.request = True
        try:
            answer = work(self, *args, **kwargs)
        finally:
            _inside.request = inner
        if fault == "answer lost":
            raise ERRORS["reset"]
        return answer[: len(answer) // 2] if fault == "truncated" else answer

    return request
