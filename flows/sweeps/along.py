"""Sweeps along one setting: learning rate, batch size, weight decay.

Rates are half decades apart. The square root for rates of other batch sizes is that of Malladi et
al. 2022 (arXiv 2205.10287) for adaptive optimizers.
"""

import math
from collections.abc import Sequence

from flows.config import PipelineConfig
from flows.stages import MODEL
from flows.sweeps.design import Arm, Design, Wishes, held_equal, scaled_rates, seeds_from
from lm.config import TrainConfig

RATE_FACTORS = (0.1, 0.316228, 1.0, 3.16228, 10.0, 31.6228, 100.0)
"""Half decades around the preset's rate; the last ones are meant to diverge."""
RANGE = (0.001, 100.0)
"""Ends of a range test, as factors of the preset's rate."""
WEIGHT_DECAYS = (0.0, 0.01, 0.1, 0.3, 1.0)
BATCH_FACTOR = 4
MIN_STEPS = 20
"""Fewest steps of a trial of a batch-size sweep; a larger batch would leave fewer."""

RATE, BATCH, DECAY = (
    f"{MODEL}.{name}" for name in ("max_learning_rate", "batch_size", "weight_decay")
)


def learning_rate(base: PipelineConfig, wishes: Wishes) -> Design:
    """Train at rates from too small to divergent."""
    peak = base.train_lm.max_learning_rate
    rates = _values(wishes, RATE, [peak * factor for factor in RATE_FACTORS])
    arms = [Arm(name=f"rate {rate:.3g}", overrides=_at_rate(base.train_lm, rate)) for rate in rates]
    return _along("learning-rate", RATE, arms, base, wishes)


def range_test(base: PipelineConfig, wishes: Wishes) -> Design:
    """Let the rate grow from too small to divergent within one training."""
    peak = base.train_lm.max_learning_rate
    rates = _values(wishes, RATE, [peak * RANGE[0], peak * RANGE[1]])
    if len(rates) != 2 or rates[0] >= rates[1]:
        raise ValueError(f"--grid {RATE} {rates} must be the lowest and the highest rate")
    overrides = {
        **_at_rate(base.train_lm, rates[1]),
        f"{MODEL}.min_learning_rate": rates[0],
        f"{MODEL}.schedule": "growing",
        f"{MODEL}.warmup_steps": 0,
        f"{MODEL}.log_interval": 1,
        f"{MODEL}.spike_sigma": 0.0,  # a skipped step would hide where the loss rises
    }
    return Design(
        kind="range-test",
        arms=(Arm(name=f"rate {rates[0]:.3g} to {rates[1]:.3g}", overrides=overrides),),
        seeds=seeds_from(base, wishes.num_seeds or 1),
        axis=RATE,
        held_equal=held_equal(base),
    )


def batch_size(base: PipelineConfig, wishes: Wishes) -> Design:
    """Train with batches from one sequence up, the rate scaled by the square root."""
    if wishes.hold not in ("tokens", "steps"):
        raise ValueError(f"hold ({wishes.hold!r}) must be tokens or steps")
    config = base.train_lm
    tokens = config.max_steps * config.batch_size
    largest = max(config.batch_size, tokens // MIN_STEPS)
    sizes = _values(wishes, BATCH, _powers(BATCH_FACTOR, largest))
    arms = [
        Arm(name=f"batch {size}", overrides=_at_batch_size(config, int(size), wishes.hold))
        for size in sizes
    ]
    steps = f"{config.max_steps:,} steps"
    held = steps if wishes.hold == "steps" else f"{tokens * base.model.context_length:,} tokens"
    note = "rates are scaled by the square root of the batch size"
    return _along("batch-size", BATCH, arms, base, wishes, held=held, notes=(note,))


def weight_decay(base: PipelineConfig, wishes: Wishes) -> Design:
    """Train with several weight decays."""
    values = _values(wishes, DECAY, WEIGHT_DECAYS)
    arms = [Arm(name=f"decay {value:g}", overrides={DECAY: value}) for value in values]
    return _along("weight-decay", DECAY, arms, base, wishes)


def _along(
    kind: str,
    axis: str,
    arms: Sequence[Arm],
    base: PipelineConfig,
    wishes: Wishes,
    *,
    held: str = "",
    notes: tuple[str, ...] = (),
) -> Design:
    """Return a sweep along one setting; with several seeds, its values are compared."""
    num_seeds = wishes.num_seeds or 1
    own = _own_arm(axis, arms, base)
    return Design(
        kind=kind,
        arms=tuple(arms),
        seeds=seeds_from(base, num_seeds),
        against=own if num_seeds > 1 else "",
        axis=axis,
        held_equal=held or held_equal(base),
        notes=notes,
    )


def _own_arm(axis: str, arms: Sequence[Arm], base: PipelineConfig) -> str:
    """Return the name of the arm that has the configuration's own value; "" without one."""
    own = getattr(base.train_lm, axis.rpartition(".")[2])
    return next((arm.name for arm in arms if arm.overrides[axis] == own), "")


def _values(wishes: Wishes, axis: str, default: Sequence[float]) -> list[float]:
    """Return the values along an axis: the user's, or the usual ones."""
    if other := sorted(set(wishes.grid) - {axis}):
        raise ValueError(f"this sweep is along {axis}, not {other[0]}; take the sweep grid")
    values = wishes.grid.get(axis, default)
    numbers = []
    for value in values:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ValueError(f"{axis} ({value!r}) must be a number")
        numbers.append(int(value) if axis == BATCH else float(f"{value:.6g}"))
    return numbers


def _at_rate(config: TrainConfig, rate: float) -> dict[str, object]:
    return scaled_rates(MODEL, config, rate / config.max_learning_rate)


def _at_batch_size(config: TrainConfig, size: int, hold: str) -> dict[str, object]:
    """Return a batch size with its rates and, where tokens are held equal, its steps."""
    rates = scaled_rates(MODEL, config, math.sqrt(size / config.batch_size))
    stretch = config.batch_size / size if hold == "tokens" else 1.0
    steps = ("max_steps", "warmup_steps", "log_interval", "valid_interval")
    return {
        BATCH: size,
        **rates,
        **{f"{MODEL}.{name}": _scaled(getattr(config, name), stretch) for name in steps},
    }


def _scaled(steps: int, factor: float) -> int:
    """Scale a number of steps; 0, which switches something off, stays."""
    return max(1, round(steps * factor)) if steps else 0


def _powers(factor: int, largest: int) -> list[int]:
    """Return 1 and the powers of a factor up to the largest.

    >>> _powers(4, 70)
    [1, 4, 16, 64]
    """
    return [factor**power for power in range(largest.bit_length()) if factor**power <= largest]
