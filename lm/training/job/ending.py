"""How a training ended, judged from its lines: finished, diverged, or stuck.

Divergence is a result and not an error: a sweep of rates wants to know at which rate and step it
came. Most diverged runs keep a finite loss, because gradients are clipped and spikes are skipped;
so the shape of the curve decides, not NaN alone. Imports no torch.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lm.config import TrainConfig
from lm.optim.schedule import learning_rate

LOST_SHARE = 0.5
"""A run that gave back this share of what it had learned has diverged. The worst noise of healthy
runs (batches of one sequence) is far below it."""

START_MARGIN = 1.0
"""Nats above the loss of equal guesses that no healthy run reaches; tied embeddings start 0.5
above it."""

RECOVERED_MARGIN = 0.5
"""Nats below the unigram entropy that a run reaches which was thrown above its start and has
recovered. With clipped gradients and a falling rate most come back, but not far."""

UNIGRAM_MARGIN = 0.1
"""Nats from the unigram entropy within which a model knows word frequencies and no more."""

WINDOW = 5
"""Logged losses of which the median is taken, so that one bad batch decides nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a training ended; the last three say where it diverged."""

    status: Literal["finished", "diverged", "stuck"]
    last_finite_loss: float | None
    """Last finite training loss, in nats a token."""
    step: int | None = None
    learning_rate: float | None = None


def judge_ending(
    lines: Sequence[Mapping[str, object]],
    config: TrainConfig,
    *,
    given_up: bool,
    final_loss: float | None,
    unigram_entropy: float,
    vocab_size: int,
) -> Ending:
    """Judge a training by its lines, in their order, and the loss of the model that it gave.

    Args:
        lines: The lines of `metrics.jsonl`.
        config: The training's settings; the rate at a step follows from them.
        given_up: Whether training stopped itself after spikes.
        final_loss: Loss of the published model; None: not finite.
        unigram_entropy: Of the training tokens, in nats: what word frequencies alone reach.
        vocab_size: A model that knows nothing has a loss of its logarithm.
    """
    steps, losses = _finite_losses(lines)
    smooth = _smoothed(losses)
    last = losses[-1] if losses else None
    step: int | None
    if given_up or final_loss is None:
        step = _first_lost_step(lines, default=steps[-1] if steps else 0)
    else:
        step = _step_of_the_rise(steps, smooth, math.log(vocab_size))
        if step is None and final_loss > unigram_entropy - RECOVERED_MARGIN:
            step = _step_above_the_start(steps, losses, math.log(vocab_size))
    if step is not None:
        rate = learning_rate(max(0, step - 1), config)
        return Ending(status="diverged", last_finite_loss=last, step=step, learning_rate=rate)
    is_stuck = (
        final_loss is not None
        and abs(final_loss - unigram_entropy) < UNIGRAM_MARGIN
        and _last_progress(smooth) < UNIGRAM_MARGIN
    )
    return Ending(status="stuck" if is_stuck else "finished", last_finite_loss=last)


def _finite_losses(lines: Sequence[Mapping[str, object]]) -> tuple[list[int], list[float]]:
    """Return the steps that have a finite training loss, skipped ones included, and the losses."""
    found = [(line["step"], line.get("train/loss", line.get("spike/loss"))) for line in lines]
    finite = [
        (step, float(loss))
        for step, loss in found
        if isinstance(step, int) and isinstance(loss, int | float)
    ]
    return [step for step, _ in finite], [loss for _, loss in finite]


def _first_lost_step(lines: Sequence[Mapping[str, object]], *, default: int) -> int:
    """Return the first step whose loss or gradient was not finite."""
    names = ("train/loss", "train/gradient_norm", "spike/loss", "spike/gradient_norm")
    lost = (line["step"] for line in lines for name in names if line.get(name, 0) is None)
    return next((step for step in lost if isinstance(step, int)), default)


def _step_of_the_rise(steps: Sequence[int], smooth: Sequence[float], start: float) -> int | None:
    """Return the first step of the rise from which the loss did not recover; None without one."""
    lowest = min([start, *smooth])
    limit = max(lowest + LOST_SHARE * (start - lowest), lowest + UNIGRAM_MARGIN)
    if smooth and smooth[-1] > limit and lowest < start:
        below = max(number for number, loss in enumerate(smooth) if loss <= limit)
        return steps[below + 1]
    return None


def _step_above_the_start(
    steps: Sequence[int], losses: Sequence[float], start: float
) -> int | None:
    """Return the first step whose loss no healthy run has; None without one."""
    beyond = (step for step, loss in zip(steps, losses, strict=True) if loss > start + START_MARGIN)
    return next(beyond, None)


def _smoothed(losses: Sequence[float]) -> list[float]:
    """Return running medians of the last `WINDOW` losses, of fewer at the beginning."""
    ends = range(1, len(losses) + 1)
    return [statistics.median(losses[max(0, end - WINDOW) : end]) for end in ends]


def _last_progress(smooth: Sequence[float]) -> float:
    """Return by how much the loss fell in the last quarter of the run."""
    return smooth[-1 - len(smooth) // 4] - smooth[-1] if smooth else 0.0
