"""A curve in a few lines of text, drawn with Braille dots."""

from collections.abc import Sequence
from itertools import pairwise

BLANK = 0x2800
"""The Braille pattern without dots; each dot adds a bit (Unicode chart U+2800)."""
DOTS = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))
"""Bits of the left and the right column of a character, from the lowest dot up."""
DOT_ROWS, DOT_COLUMNS = 4, 2


def draw_curve(
    values: Sequence[float], *, width: int, height: int, share: float = 1.0
) -> list[str]:
    """Draw values from left to right into `height` lines of `width` characters, the highest on top.

    The curve fills that share of the width. Where there are more values than columns, each column
    has the mean of its own; where there are fewer, the columns between two values lie on a line.

    >>> draw_curve([4, 3, 2, 1], width=2, height=1)
    ['⠑⢄']
    """
    columns = _resampled(values, max(2, round(share * width * DOT_COLUMNS)))
    low, high = min(columns), max(columns)
    top = height * DOT_ROWS - 1
    cells = [[BLANK] * width for _ in range(height)]
    level_before = None
    for x, value in enumerate(columns):
        level = round((value - low) / (high - low) * top) if high > low else 0
        # A steep part is drawn as an upright line, so that the curve has no gaps.
        start = level if level_before is None else _next_to(level_before, level)
        for y in range(min(start, level), max(start, level) + 1):
            row = height - 1 - y // DOT_ROWS
            cells[row][x // DOT_COLUMNS] |= DOTS[x % DOT_COLUMNS][y % DOT_ROWS]
        level_before = level
    return ["".join(map(chr, row)) for row in cells]


def _next_to(before: int, level: int) -> int:
    """Return the level next to the column before, on the way to `level`."""
    return before + (level > before) - (level < before)


def _resampled(values: Sequence[float], count: int) -> list[float]:
    if count > len(values):
        places = [n * (len(values) - 1) / (count - 1) for n in range(count)]
        return [_between(values, place) for place in places]
    edges = [round(n * len(values) / count) for n in range(count + 1)]
    return [sum(values[start:stop]) / (stop - start) for start, stop in pairwise(edges)]


def _between(values: Sequence[float], place: float) -> float:
    lower = min(int(place), len(values) - 2)
    return values[lower] + (place - lower) * (values[lower + 1] - values[lower])
