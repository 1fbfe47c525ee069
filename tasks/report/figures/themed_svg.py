"""Drawing with matplotlib, as SVG that follows the reader's light or dark theme.

Colours are drawn as stand-ins and then replaced by CSS variables of the page, and text stays text
in the reader's own font. Panels are small, so that they can be read on a phone.
"""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter, NullLocator

from tasks.report.wording import rate, short

INK, MUTED, RULE = "#010101", "#020202", "#030303"
"""Stand-ins for the colours of text, of axes, and of grid lines."""
NUM_SERIES = 6
SERIES = tuple(f"#0401{number:02x}" for number in range(NUM_SERIES))
"""Stand-ins for lines that are told apart."""
STEPS = tuple(f"#0501{number:02x}" for number in range(NUM_SERIES))
"""Stand-ins for lines in an order, from weak to strong."""

Palette = Mapping[str, str | tuple[str, ...]]
"""Colours by the names of their CSS variables; several have a number each."""

LIGHT: Palette = {
    "ink": "#1c2127",
    "muted": "#5c6670",
    "rule": "#e0e3e7",
    "series": ("#0f62ac", "#c2410c", "#15803d", "#7e3fa8", "#8a6100", "#5c6670"),
    "steps": ("#9cc4e6", "#6aa5d6", "#3f86c2", "#1f68a8", "#104b82", "#082f57"),
}
DARK: Palette = {
    "ink": "#e7e9ec",
    "muted": "#a3acb6",
    "rule": "#333a42",
    "series": ("#6cb3f5", "#fb9a6b", "#63cf90", "#cda3ea", "#ddb652", "#a3acb6"),
    "steps": ("#2f5e8a", "#3d7bb3", "#559ad6", "#7db6ea", "#a9d0f5", "#d8ebfc"),
}

PANEL = (4.9, 3.15)
"""Inches of one panel: two of them side by side on a wide page, one on a phone."""
TALL = (4.9, 4.1)
"""The same with room for further scales below it."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.labelsize": 9.5,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "text.color": INK,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
_MIN_LABEL_GAP = 0.075
"""Share of the panel's height between two labels."""


@dataclass(frozen=True, slots=True)
class EndLabel:
    """A label beside the end of a line."""

    y: float
    text: str
    color: str
    x: float | None = None
    """Where the line ends; None: at the panel's edge."""


def new_panel(
    x_label: str, y_label: str, *, size: tuple[float, float] = PANEL
) -> tuple[Drawing, Axes]:
    """Return an empty panel; its axes write large numbers short."""
    with mpl.rc_context(_STYLE):
        drawing = Drawing(figsize=size, layout="constrained")
        axes = drawing.add_subplot()
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.xaxis.set_major_formatter(FuncFormatter(short))
        axes.yaxis.set_major_formatter(FuncFormatter(short))
    return drawing, axes


def log_ticks(axes: Axes, values: Sequence[float]) -> None:
    """Make the horizontal axis logarithmic, with a tick at each value that was tried."""
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(list(values), [*map(rate, values)])


def series_color(number: int) -> str:
    """Return the colour of one of several lines; the last one serves all further ones."""
    return SERIES[min(number, NUM_SERIES - 1)]


def step_color(number: int, total: int) -> str:
    """Return the colour of a line in an order of `total`; few lines are spread over the scale."""
    return STEPS[round((number + 1) * (NUM_SERIES - 1) / max(total, 1))]


def add_scale(axes: Axes, place: float, factor: float, name: str) -> None:
    """Add another scale of the horizontal axis below it, at a share of the panel's height."""
    with mpl.rc_context(_STYLE):
        scale = axes.secondary_xaxis(
            place,
            functions=(lambda x: np.multiply(x, factor), lambda x: np.divide(x, factor)),
        )
        scale.xaxis.set_major_formatter(FuncFormatter(short))
        scale.set_xlabel(name)


def label_ends(axes: Axes, labels: Sequence[EndLabel]) -> None:
    """Write labels beside the ends of lines, moved apart where they would touch."""
    edge, (bottom, top) = axes.get_xlim()[1], axes.get_ylim()
    for label in [label for label in labels if label.x is not None and label.x < 0.9 * edge]:
        # Below the end, as to its right the next line comes down in many figures; but not on the
        # horizontal axis.
        is_below = bottom + 0.1 * (top - bottom) < label.y < top
        axes.annotate(
            label.text,
            (label.x, min(label.y, top)),
            xytext=(0, -9) if is_below else (5, 0),
            textcoords="offset points",
            ha="center" if is_below else "left",
            va="center",
            color=label.color,
            annotation_clip=False,
        )
    _label_edge(axes, [label for label in labels if label.x is None or label.x >= 0.9 * edge])


def _label_edge(axes: Axes, labels: Sequence[EndLabel]) -> None:
    """Write labels along the right edge of the panel."""
    if not labels:
        return
    heights = [float(axes.yaxis.get_transform().transform(label.y)) for label in labels]
    places = axes.transLimits.transform(np.array([(1.0, height) for height in heights]))
    shares = [min(max(float(place[1]), 0.0), 1.0) for place in places]
    order = sorted(range(len(labels)), key=lambda number: shares[number])
    placed: dict[int, float] = {}
    floor = -1.0
    for number in order:
        placed[number] = max(shares[number], floor)
        floor = placed[number] + _MIN_LABEL_GAP
    ceiling = 1.02
    for number in reversed(order):
        placed[number] = min(placed[number], ceiling)
        ceiling = placed[number] - _MIN_LABEL_GAP
    for number, label in enumerate(labels):
        axes.annotate(
            label.text,
            (1.015, placed[number]),
            xycoords="axes fraction",
            va="center",
            color=label.color,
            annotation_clip=False,
        )


def to_svg(drawing: Drawing, name: str) -> str:
    """Return the drawing as SVG in the page's colours; the same drawing gives the same bytes."""
    text = io.StringIO()
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        drawing.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return themed(text.getvalue(), name)


def themed(svg: str, name: str) -> str:
    """Replace stand-ins by CSS variables, and make ids the figure's own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for stand_in, variable, color in _variables():
        svg = svg.replace(stand_in, f"var(--{variable}, {color})")
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", svg)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'xlink:href="#', f'xlink:href="#{name}-', svg)
    # The page sets the size; the view box keeps the proportions.
    head, end, rest = svg.partition(">")
    return re.sub(r' (width|height)="[^"]*"', "", head) + end + rest


def palette_css(palette: Palette) -> str:
    """Return the CSS declarations of one theme's colours."""
    pairs = []
    for name, value in palette.items():
        if isinstance(value, str):
            pairs.append((name, value))
        else:
            pairs += [(f"{name}-{number}", color) for number, color in enumerate(value)]
    return " ".join(f"--{name}: {color};" for name, color in pairs)


def standalone(svg: str) -> str:
    """Return a figure as a file of its own, with both themes in it."""
    style = (
        f"<style>svg {{ {palette_css(LIGHT)} }} "
        f"@media (prefers-color-scheme: dark) {{ svg {{ {palette_css(DARK)} }} }}</style>"
    )
    head, end, rest = svg.partition(">")
    return f"{head}{end}{style}{rest}"


def _variables() -> list[tuple[str, str, str]]:
    named = [(INK, "ink"), (MUTED, "muted"), (RULE, "rule")]
    found = [(stand_in, name, str(LIGHT[name])) for stand_in, name in named]
    found += [(c, f"series-{n}", LIGHT["series"][n]) for n, c in enumerate(SERIES)]
    found += [(c, f"steps-{n}", LIGHT["steps"][n]) for n, c in enumerate(STEPS)]
    return found
