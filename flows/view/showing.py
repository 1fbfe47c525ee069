"""Show a run while it works: in a terminal, in a worker's log, or not again where it is shown."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console

from flows.logs import log_path, logged_to
from flows.view.board import Board
from flows.view.lines import plain_view
from flows.view.live import live_view
from tasks.watching.events import observed_by, observer_of_run


@contextmanager
def showing_run(root: Path, *, verbose: bool = False) -> Iterator[Path | None]:
    """Show the run that the body performs; yields the file of all its records.

    Does nothing where a caller shows the run already.
    """
    if observer_of_run() is not None:
        yield None
        return
    path, board = log_path(root), Board()
    console = Console(stderr=True)
    is_live = console.is_terminal and not console.is_dumb_terminal and not verbose
    view = live_view(board, console) if is_live else plain_view(board, write_line)
    try:
        with view as observer, observed_by(observer), logged_to(path, observer, verbose=verbose):
            yield path
    except BaseException:
        write_line(f"log: {path}")  # after the view has gone
        raise


def write_line(line: str) -> None:
    """Write a line to standard error, if anybody still reads it."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is the plain view
