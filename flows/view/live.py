"""The live view: the stages as a table that fills, and the training's line and curve below it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from flows.view.board import Board, Row
from flows.view.curve import draw_curve
from flows.view.wording import (
    cut_title,
    describe_compile,
    describe_training,
    describe_work,
    format_seconds,
)
from tasks.watching.events import Event, Leaving, Observer

REFRESHES_PER_SECOND = 5
CURVE_WIDTH, CURVE_HEIGHT = 60, 3
"""Characters of the loss's curve."""
FEWEST_POINTS = 4
"""Losses that make a curve."""
BAR_WIDTH, STATE_WIDTH, SECONDS_WIDTH = 16, 11, 7
COLUMN_GAP = 2
STYLES = {"cached": "cyan", "built": "green", "stopped": "yellow", "failed": "red"}


class LiveView:
    """Draws a board; rich asks for it a few times a second."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.spinner = Spinner("dots", style="cyan")  # of the row
        self.waiting = Spinner("dots", style="cyan")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield what is shown now."""
        now = time.monotonic()
        yield Group(*self._parts(now, options.max_width))

    def _parts(self, now: float, width: int) -> Iterator[Table | Text | Spinner]:
        board = self.board
        if board.title:
            elapsed = "  " + format_seconds(now - board.began)
            title = cut_title(board.title, width - len(elapsed))
            yield Text.assemble((title, "bold"), (elapsed, "dim"), no_wrap=True)
        if board.rows:
            yield self._table(now, width)
        if board.preparing:
            self.waiting.update(text=Text(f"{board.preparing} ...", "dim"))
            yield self.waiting
        if board.training is not None:
            yield Text(describe_training(board.training), no_wrap=True)
            work = board.row.work if board.row else None
            share = work.done / work.total if work and work.total else 1.0
            yield from curve_of(board.training.losses, min(share, 1.0))
        for note in board.notes:
            yield Text(note, "yellow")

    def _table(self, now: float, width: int) -> Table:
        table = Table.grid(padding=(0, COLUMN_GAP, 0, 0))
        name_width = max(len(row.name) for row in self.board.rows)
        room = width - name_width - STATE_WIDTH - SECONDS_WIDTH - 3 * COLUMN_GAP
        table.add_column(no_wrap=True, min_width=name_width)
        table.add_column(no_wrap=True, min_width=STATE_WIDTH)
        table.add_column(no_wrap=True, min_width=SECONDS_WIDTH, justify="right")
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(room, 1))
        for row in self.board.rows:
            table.add_row(*self._cells(row, now, room))
        return table

    def _cells(self, row: Row, now: float, room: int) -> tuple[Text | Spinner, ...]:
        name = Text(row.name)
        if row.outcome:
            state = Text(row.outcome, STYLES[row.outcome])
            return name, state, Text(format_seconds(row.seconds)), Text("")
        if not row.is_working:
            return Text(row.name, "dim"), Text(""), Text(""), Text("")
        self.spinner.update(text=Text(state_of(row), "bold"))
        return name, self.spinner, Text(format_seconds(now - row.began)), describe(row, now, room)


def state_of(row: Row) -> str:
    """Return the state of a stage that is being worked on."""
    if row.compile:
        return "compiling"
    return "building" if row.reason else "looking"


def describe(row: Row, now: float, room: int) -> Text:
    """Return how far the stage is; numbers go before the bar where there is no room for both."""
    if row.compile:
        return Text(describe_compile(row.compile, now))
    if row.work is None:
        return Text(row.reason, "dim")
    numbers = describe_work(row.work, now)
    if BAR_WIDTH + 1 + len(numbers) > room:
        return Text(numbers)
    return Text.assemble(bar_of(row.work.done, row.work.total), " ", numbers)


def bar_of(done: int, total: int) -> Text:
    """Return a bar of text."""
    bar = ProgressBar(total=max(total, 1), completed=done, width=BAR_WIDTH)
    full = round(BAR_WIDTH * (bar.percentage_completed or 0.0) / 100)
    return Text.assemble(("━" * full, "cyan"), ("━" * (BAR_WIDTH - full), "bright_black"))


def curve_of(losses: list[float], share: float) -> Iterator[Text]:
    """Yield the lines of the loss's curve, with its highest and lowest value.

    The curve grows with the share of the training that is done.
    """
    if len(losses) < FEWEST_POINTS:
        return
    lines = draw_curve(losses, width=CURVE_WIDTH, height=CURVE_HEIGHT, share=share)
    labels = {0: f"{max(losses):7.3f} ", CURVE_HEIGHT - 1: f"{min(losses):7.3f} "}
    for number, line in enumerate(lines):
        yield Text.assemble((labels.get(number, " " * 8), "dim"), (line, "cyan"))


@contextmanager
def live_view(board: Board, console: Console) -> Iterator[Observer]:
    """Show the board in a terminal while the body works; afterwards nothing of it is left."""
    live = Live(
        LiveView(board),
        console=console,
        refresh_per_second=REFRESHES_PER_SECOND,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )

    def take(event: Event) -> None:
        board.take(event)
        if isinstance(event, Leaving):
            live.stop()

    live.start()
    try:
        yield take
    finally:
        with suppress(OSError):  # the terminal may be closed
            live.stop()
