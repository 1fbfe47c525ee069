"""Learning rates over a run: linear warm-up, then cosine, WSD, linear, constant or growing.

Progress is counted in steps; in a run with a wall-clock budget too, it is the share of the budget
or of the steps, whichever is nearer its end. Imports no torch.
"""

import math

from lm.config import TrainConfig


def cosine_learning_rate(
    step: int,
    *,
    max_learning_rate: float,
    min_learning_rate: float,
    warmup_steps: int,
    cosine_steps: int,
) -> float:
    """Return the course's schedule (CS336 A1, section 4.4): warm-up, cosine to `cosine_steps`.

    The rate is `min_learning_rate` after `cosine_steps`.
    """
    if step < warmup_steps:
        return step / warmup_steps * max_learning_rate
    if step >= cosine_steps:
        return min_learning_rate
    share = (step - warmup_steps) / (cosine_steps - warmup_steps)
    return min_learning_rate + _cosine(share) * (max_learning_rate - min_learning_rate)


def _cosine(share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * share))


def _decay(share: float, config: TrainConfig) -> float:
    """Return how much of the way from the smallest to the peak rate is left, 1 to 0."""
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "cosine":
        return _cosine(share)
    if config.schedule == "linear":
        return 1.0 - share
    # Warm-up, stable, decay (Hu et al. 2024, MiniCPM): linear over the last share of the run.
    left = 1.0 - share
    return min(1.0, left / config.wsd_decay_share) if config.wsd_decay_share else 1.0


def learning_rate(step: int, config: TrainConfig, *, clock_share: float | None = None) -> float:
    """Return AdamW's rate for `step`, the first of which is 0.

    Args:
        step: Optimizer steps already done.
        config: Names the schedule and its ends.
        clock_share: Share of the wall-clock budget already used, 0 to 1. The run ends at the
            budget or after `max_steps`, so the schedule follows the larger share of the two.
    """
    if step < config.warmup_steps:
        return config.max_learning_rate * step / config.warmup_steps
    share = (step - config.warmup_steps) / max(1, config.max_steps - config.warmup_steps)
    if clock_share is not None:
        share = max(share, clock_share)
    floor = config.min_learning_rate
    if config.schedule == "growing":  # Smith 2017 (arXiv 1506.01186), section 3.3, by factors
        return floor * math.pow(config.max_learning_rate / floor, min(1.0, share))
    return floor + _decay(min(1.0, max(0.0, share)), config) * (config.max_learning_rate - floor)


def learning_rate_factor(
    step: int, config: TrainConfig, *, clock_share: float | None = None
) -> float:
    """Return the rate as a share of its peak, which scales the rates of all parameter groups."""
    return learning_rate(step, config, clock_share=clock_share) / config.max_learning_rate
