"""Progress for a person: an event where a run is observed, else a bar or lines of its own.

The libraries report through `on_progress(done, total)`.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from tasks.watching.events import Observer, Progressed, observer_of_run

logger = logging.getLogger(__name__)

OnProgress = Callable[[int, int], None]

LINE_INTERVAL_S = 30.0
"""Seconds between two plain lines: enough to see life in a log, too few to fill it."""


def no_guard() -> None:
    """Let the work continue."""


@contextmanager
def progress(
    description: str, *, unit: str = "bytes", guard: Callable[[], None] = no_guard
) -> Iterator[OnProgress]:
    """Show the progress of one piece of work; yields the callback that takes (done, total).

    `guard` is called before each report, and raises to stop the work.
    """
    with _shown(description, unit) as show:

        def on_progress(done: int, total: int) -> None:
            guard()
            show(done, total)

        yield on_progress


def _shown(description: str, unit: str) -> AbstractContextManager[OnProgress]:
    """Return who shows the progress: the observer of the run, else a bar or lines of its own."""
    if (observer := observer_of_run()) is not None:
        return nullcontext(_told(observer, description, unit))
    return _bar(description, unit) if sys.stderr.isatty() else _lines(description, unit)


def _told(observer: Observer, description: str, unit: str) -> OnProgress:
    def on_progress(done: int, total: int) -> None:
        observer(Progressed(work=description, done=done, total=total, unit=unit))

    return on_progress


def format_bytes(size_bytes: float) -> str:
    """Write a number of bytes in decimal units.

    >>> format_bytes(11_920_511_059)
    '11.92 GB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.4g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.4g} TB"


@contextmanager
def _bar(description: str, unit: str) -> Iterator[OnProgress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    amount = (
        (DownloadColumn(), TransferSpeedColumn()) if unit == "bytes" else (MofNCompleteColumn(),)
    )
    columns = (TextColumn("{task.description}"), BarColumn(), *amount, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


@contextmanager
def _lines(description: str, unit: str) -> Iterator[OnProgress]:
    last = time.monotonic()

    def on_progress(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < LINE_INTERVAL_S:
            return
        last = now
        share = f" ({100 * done / total:.0f} %)" if total else ""
        shown = format_bytes(done) if unit == "bytes" else f"{done:,} {unit}"
        logger.info("%s: %s%s", description, shown, share)

    yield on_progress
