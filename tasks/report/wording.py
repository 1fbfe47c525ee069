"""Numbers in words: one form for each kind of quantity, the same on every page."""

import math

NOTHING = "–"
"""Where there is no number."""


def count(value: float | None) -> str:
    """Write a whole number with separators.

    >>> count(22696448)
    '22,696,448'
    """
    return NOTHING if value is None else f"{value:,.0f}"


def short(value: float, _position: object = None) -> str:
    """Write a number in at most five signs, for an axis.

    >>> [short(value) for value in (0, 950, 614400, 2.5e6, 1e9)]
    ['0', '950', '614k', '2.5M', '1G']
    """
    size = abs(value)
    for factor, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:g}"


def loss(value: float | None, error: float | None = None) -> str:
    """Write a loss, with its standard error where there is one.

    >>> loss(3.86832, 0.01234)
    '3.868 ± 0.012'
    """
    if value is None or not math.isfinite(value):
        return NOTHING if value is None else "not finite"
    return f"{value:.3f}" + (f" ± {error:.3f}" if error is not None else "")


def difference(value: float) -> str:
    """Write a difference of losses with its sign.

    >>> difference(-0.0312)
    '-0.031'
    """
    return f"{value:+.3f}"


def share(value: float | None) -> str:
    """Write a share as a percentage.

    >>> share(0.0714)
    '7.1 %'
    """
    return NOTHING if value is None else f"{100 * value:.1f} %"


def seconds(value: float | None) -> str:
    """Write a duration.

    >>> [seconds(value) for value in (0.0004, 0.354, 51.5, 725, 8000)]
    ['0.4 ms', '0.35 s', '51.5 s', '12 min 5 s', '2 h 13 min']
    """
    if value is None:
        return NOTHING
    if 0 < value < 0.01:
        return f"{1000 * value:.2g} ms"
    if value < 60:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def rate(value: float) -> str:
    """Write a learning rate or another setting.

    >>> [rate(value) for value in (0.00316228, 1.0, 1e-05, 1024)]
    ['0.00316', '1', '1e-05', '1024']
    """
    return f"{value:.3g}" if value % 1 else f"{value:g}"


def plain(value: object) -> str:
    """Write a setting as a person would type it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return rate(value)
    if isinstance(value, int):
        return count(value)
    if isinstance(value, list | tuple):
        return ", ".join(repr(item) if isinstance(item, str) else plain(item) for item in value)
    return str(value) or '""'
