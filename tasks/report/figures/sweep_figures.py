"""Figures of sweeps: the end of each trial over an axis, curves, speed, and differences of arms."""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from tasks.experiments.sweep_results import Comparison, CurvePoint, SweepResult, Trial
from tasks.report.figures.themed_svg import (
    INK,
    MUTED,
    EndLabel,
    label_ends,
    log_ticks,
    new_panel,
    series_color,
    step_color,
    to_svg,
)
from tasks.report.wording import rate, short

Place = Literal["step", "tokens", "seconds"]

AXIS_NAMES = {
    "train_lm.max_learning_rate": "peak learning rate",
    "train_lm.batch_size": "batch size (sequences)",
    "train_lm.weight_decay": "weight decay",
}
PLACE_NAMES: dict[Place, str] = {
    "step": "steps",
    "tokens": "tokens",
    "seconds": "seconds of training",
}
_MAX_LABELS = 8
"""More labels than this beside a panel cannot be read."""


def axis_value(result: SweepResult, trial: Trial) -> float | None:
    """Return the value of the swept setting; None where it is no number above 0."""
    value: object = trial.overrides.get(result.axis)
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        return None
    return float(value)


def by_value(result: SweepResult) -> dict[float, list[Trial]]:
    """Return the trials of each value of the axis, ascending."""
    found: dict[float, list[Trial]] = {}
    for trial in result.trials:
        value = axis_value(result, trial)
        if value is not None:
            found.setdefault(value, []).append(trial)
    return dict(sorted(found.items()))


def mean_and_error(trials: Sequence[Trial]) -> tuple[float, float] | None:
    """Return the mean final loss and its error: over seeds, or over documents for one seed.

    A diverged trial has no final loss worth a mean.
    """
    ended = [t for t in trials if t.status in ("finished", "stuck") and t.valid_loss is not None]
    losses = [float(t.valid_loss) for t in ended if t.valid_loss is not None]
    losses = [value for value in losses if math.isfinite(value)]
    if not losses:
        return None
    if len(losses) > 1:
        return statistics.fmean(losses), statistics.stdev(losses) / math.sqrt(len(losses))
    return losses[0], ended[0].valid_loss_error or 0.0


def loss_over_axis(result: SweepResult, name: str) -> str:
    """Draw the final loss at each value, with error bars; crosses where it diverged."""
    drawing, axes = new_panel(AXIS_NAMES.get(result.axis, result.axis), "final loss, nats a token")
    groups = by_value(result)
    points = [
        (value, found) for value, trials in groups.items() if (found := mean_and_error(trials))
    ]
    if points:
        axes.errorbar(
            [value for value, _ in points],
            [mean for _, (mean, _) in points],
            yerr=[error for _, (_, error) in points],
            fmt="o-",
            color=series_color(0),
            capsize=2.5,
            elinewidth=1,
        )
    log_ticks(axes, list(groups))
    lost = [v for v, trials in groups.items() if any(t.status == "diverged" for t in trials)]
    for value in lost:
        axes.plot(value, 0.97, "x", color=series_color(1), transform=axes.get_xaxis_transform())
    if lost:  # one word for all crosses: two side by side would cover each other
        axes.annotate(
            "diverged",
            (min(lost), 0.97),
            xycoords=axes.get_xaxis_transform(),
            xytext=(-6, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            color=series_color(1),
        )
    if points:
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.12 * (high - low) * bool(lost))
    return to_svg(drawing, name)


def curves(result: SweepResult, name: str, place: Place) -> str:
    """Draw the curve of each value or arm, that of its first seed; higher values are stronger."""
    drawing, axes = new_panel(PLACE_NAMES[place], "loss, nats a token")
    chosen = _one_each(result)
    is_ordered = bool(result.axis)
    ends = []
    for number, trial in enumerate(chosen):
        color = step_color(number, len(chosen)) if is_ordered else series_color(number)
        points = [(getattr(point, place), _loss(point)) for point in trial.curve]
        shown = [(x, y) for x, y in points if y is not None and math.isfinite(y)]
        if not shown:
            continue
        axes.plot([x for x, _ in shown], [y for _, y in shown], color=color, linewidth=1.3)
        if trial.status == "diverged":
            axes.plot(*shown[-1], "x", color=color)
        ends.append((shown, _label(result, trial), color))
    _limit(axes, chosen)
    if place == "step":
        axes.set_xlim(left=0)
    else:  # trials of other batch sizes differ by factors
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FuncFormatter(short))
    if len(ends) <= _MAX_LABELS:
        top = axes.get_ylim()[1]
        label_ends(axes, [_end_label(points, text, color, top) for points, text, color in ends])
    return to_svg(drawing, name)


def _end_label(
    points: Sequence[tuple[float, float]], text: str, color: str, top: float
) -> EndLabel:
    """Return the label of a line where it ends, or where it leaves the panel."""
    inside = [point for point in points if point[1] <= top] or points[:1]
    x, y = inside[-1]
    return EndLabel(y, text, color, x=x)


def _one_each(result: SweepResult) -> list[Trial]:
    """Return one trial a value or arm: the first of those that have a curve."""
    groups: dict[str, Trial] = {}
    values = by_value(result)
    trials = [t for group in values.values() for t in group] if values else result.trials
    for trial in trials:
        if trial.curve:
            groups.setdefault(_label(result, trial), trial)
    return list(groups.values())


def _label(result: SweepResult, trial: Trial) -> str:
    value = axis_value(result, trial)
    return rate(value) if value is not None else trial.arm


def _loss(point: CurvePoint) -> float | None:
    return point.train_loss if point.train_loss is not None else point.valid_loss


def _limit(axes: Axes, trials: Sequence[Trial]) -> None:
    """Leave what lies far above where runs begin out of the panel: a lost one would flatten it."""
    healthy = [trial for trial in trials if trial.status != "diverged"] or trials
    starts = _finite(_loss(trial.curve[0]) for trial in healthy)
    if starts and axes.get_ylim()[1] > 1.3 * max(starts):
        top = 1.15 * max(starts)
        low = min(_finite(_loss(point) for trial in trials for point in trial.curve))
        axes.set_ylim(low - 0.05 * (top - low), top)


def _finite(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def speed_over_axis(result: SweepResult, name: str) -> str:
    """Draw the tokens a second at each value."""
    drawing, axes = new_panel(AXIS_NAMES.get(result.axis, result.axis), "tokens a second")
    groups = by_value(result)
    speeds = {
        value: statistics.fmean([t.tokens / t.seconds for t in trials if t.seconds > 0] or [0.0])
        for value, trials in groups.items()
    }
    shown = {value: speed for value, speed in speeds.items() if speed}
    axes.plot(list(shown), list(shown.values()), "o-", color=series_color(2))
    log_ticks(axes, list(groups))
    axes.set_ylim(bottom=0)
    return to_svg(drawing, name)


def differences(comparisons: Sequence[Comparison], name: str) -> str:
    """Draw each arm's difference to its baseline with the interval; left of 0 is better."""
    height = 0.95 + 0.34 * len(comparisons)
    drawing, axes = new_panel(
        "difference in loss, nats a token (left: better)", "", size=(4.9, max(1.6, height))
    )
    for row, found in enumerate(comparisons):
        low, high = found.interval
        decided = not low <= 0 <= high
        color = (series_color(2) if high < 0 else series_color(1)) if decided else MUTED
        axes.plot([low, high], [row, row], color=color, linewidth=1.4)
        axes.plot(found.difference, row, "o", color=color)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(comparisons)), [found.arm for found in comparisons])
    axes.set_ylim(len(comparisons) - 0.4, -0.6)
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}" if value else "0"))
    return to_svg(drawing, name)


def seed_losses(trials: Sequence[Trial], name: str) -> str:
    """Draw the final loss of each seed, with their mean."""
    drawing, axes = new_panel("seed", "final loss, nats a token")
    shown = [(t.seed, float(t.valid_loss)) for t in trials if t.valid_loss is not None]
    seeds, losses = [seed for seed, _ in shown], [value for _, value in shown]
    axes.plot(seeds, losses, "o", color=series_color(0))
    mean = statistics.fmean(losses)
    axes.axhline(mean, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_xticks(seeds, [str(seed) for seed in seeds])
    label_ends(axes, [EndLabel(mean, "mean", MUTED)])
    return to_svg(drawing, name)
