"""Tables of the command line: plain, never wrapped, wide where no terminal sets the width."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

PIPE_WIDTH = 160
"""Characters a line in a file or a pipe, where rich would take 80 and cut."""

WIDE = 110
"""Characters a line that a table of all columns needs; below, tables leave the lesser ones out."""


def plain_table(title: str, left: Sequence[str], right: Sequence[str] = ()) -> Table:
    """Return an empty table with left-aligned columns, then right-aligned ones."""
    return Table(
        *(Column(name, no_wrap=True) for name in left),
        *(Column(name, justify="right", no_wrap=True) for name in right),
        title=escape(title) or None,
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )


def format_seconds(seconds: float) -> str:
    """Return a duration in the two largest units that matter.

    >>> format_seconds(0.4), format_seconds(75), format_seconds(8_100), format_seconds(10_677_372)
    ('0.4 s', '1 min 15 s', '2 h 15 min', '123 d 14 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    for size, large, unit, small in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {large} {seconds % size // unit:.0f} {small}"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def let_wrap(column: Column) -> None:
    """Let a table's column of text take several lines; no letter of it is cut off."""
    column.justify, column.no_wrap, column.overflow = "left", False, "fold"


def is_narrow() -> bool:
    """Tell whether standard output is a terminal that is too narrow for all columns."""
    return _console().width < WIDE


def print_table(table: Table) -> None:
    """Print a table to standard output."""
    _console().print(table)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)
