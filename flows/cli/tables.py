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


def print_table(table: Table) -> None:
    """Print a table to standard output."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    console.print(table)
