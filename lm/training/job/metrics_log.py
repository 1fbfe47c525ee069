"""A file of JSON lines that a killed and resumed run continues without repeating itself."""

import json
import os
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

Metrics = Mapping[str, float | int | bool | None]
Line = Mapping[str, Any]
"""Names and plain JSON values; `step` is a number."""


class MetricsLog:
    """Appends lines `{"step": …, name: value, …}`, one per step and set of names.

    A line that is there already is not written again: a resumed run repeats the steps after its
    checkpoint and gets the same values. A last line that a kill cut off is removed. Each line is
    handed to the system at once, so that a killed process loses none.
    """

    def __init__(self, path: Path, *, text_before: str | None = None) -> None:
        """Open the log of a resumed run, or, without `text_before`, start an empty one.

        `text_before` is what the log held at the checkpoint, in case the file was lost or damaged
        since.
        """
        self.path = path
        whole = "" if text_before is None else _whole_lines(path)
        if text_before is not None and not whole.startswith(text_before):
            whole = text_before
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(whole, encoding="utf-8")
        self._last_steps: dict[frozenset[str], int] = {}
        for line in whole.splitlines():
            self._note(json.loads(line))
        self._file = path.open("a", encoding="utf-8")

    def _note(self, line: Line) -> None:
        self._last_steps[frozenset(line)] = int(line["step"] or 0)

    def write(self, step: int, metrics: Line) -> bool:
        """Append a line unless it is there already; tell whether it was appended."""
        line = {"step": step, **metrics}
        if step <= self._last_steps.get(frozenset(line), -1):
            return False
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()
        self._note(line)
        return True

    def flush_to_disk(self) -> str:
        """Put all lines on the disk and return them: a checkpoint must not be ahead of its log."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self.path.read_text(encoding="utf-8")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _whole_lines(path: Path) -> str:
    """Return the lines up to the first that is cut off or damaged."""
    if not path.exists():
        return ""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    return "".join(takewhile(_is_whole, lines))


def _is_whole(line: str) -> bool:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return line.endswith("\n") and isinstance(values, dict) and type(values.get("step")) is int
