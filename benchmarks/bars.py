"""The bars that the project set itself and what was measured, as a table."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure and what it must reach."""

    what: str
    measured: float
    bar: float
    at_most: bool = True
    """Whether smaller is better."""

    @property
    def is_met(self) -> bool:
        """Tell whether the figure reaches the bar."""
        return self.measured <= self.bar if self.at_most else self.measured >= self.bar

    def to_json(self) -> dict[str, Any]:
        """Return the bar as a benchmark prints it."""
        return asdict(self)


def bars_of(lines: Iterable[dict[str, Any]]) -> list[Bar]:
    """Collect the bars of the JSON lines that benchmarks printed."""
    return [Bar(**bar) for line in lines for bar in line.get("bars", [])]


def as_table(bars: Iterable[Bar]) -> str:
    """Write bars as a Markdown table."""
    rows = ["| what | measured | bar | met |", "|---|---:|---:|---|"]
    for bar in bars:
        sign = "≤" if bar.at_most else "≥"
        met = "yes" if bar.is_met else "**no**"
        rows.append(f"| {bar.what} | {_short(bar.measured)} | {sign} {_short(bar.bar)} | {met} |")
    return "\n".join(rows)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
