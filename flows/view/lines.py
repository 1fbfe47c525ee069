"""The plain view: a line when something ends, and one a minute while a model trains."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flows.view.board import Board, Row
from flows.view.wording import describe_compile, describe_training, describe_work, format_seconds
from tasks.watching.events import (
    CompileStarted,
    Event,
    Measured,
    Noted,
    Observer,
    Preparing,
    Progressed,
    Resumed,
    RunStarted,
    StageEnded,
)

INTERVAL_S = 60.0
"""Seconds between two lines of one stage: enough to see life, too few to fill a log."""


@contextmanager
def plain_view(board: Board, write: Callable[[str], None]) -> Iterator[Observer]:
    """Write lines about the run while the body works."""
    yield PlainView(board, write).take


class PlainView:
    """Turns events into lines."""

    def __init__(self, board: Board, write: Callable[[str], None]) -> None:
        self.board = board
        self.write = write
        self._last = time.monotonic()

    def take(self, event: Event) -> None:
        """Note an event, and write a line where it deserves one."""
        self.board.take(event)
        row = self.board.row
        match event:
            case RunStarted():
                self.write(event.title)
            case Preparing():
                self.write(f"{event.what} ...")
            case Noted() | Resumed():
                self.write(self.board.notes[-1])
            case StageEnded():
                self._last = time.monotonic()
                self.write(_ending(next(r for r in self.board.rows if r.name == event.stage)))
            case CompileStarted() if row and row.compile:
                what = describe_compile(row.compile, row.compile.began)
                self.write(f"{row.name}: compiling {what}")
            case Progressed() | Measured() if row:
                self._write_now_and_then(row)

    def _write_now_and_then(self, row: Row) -> None:
        now = time.monotonic()
        if now - self._last < INTERVAL_S:
            return
        self._last = now
        parts = [describe_work(row.work, now)] if row.work else []
        if self.board.training:
            parts.append(describe_training(self.board.training))
        self.write(f"{row.name}: {'  '.join(parts)}")


def _ending(row: Row) -> str:
    seconds = format_seconds(row.seconds)
    reason = f"  ({row.reason})" if row.reason else ""
    return f"{row.name:<20} {row.outcome:<8} {seconds:>8}{reason}"
