"""Tables of the command line: plain, never wrapped, wide where no terminal sets the width."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

PIPE_WIDTH = 160
"""Characters a line in a file or a pipe, where rich would take 80 and cut."""


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


def print_table(table: Table) -> None:
    """Print a table to standard output."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    console.print(table)
