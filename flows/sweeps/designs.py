"""The sweeps that there are, each a function from a configuration to a design."""

import itertools
from collections.abc import Callable

from flows.config import PipelineConfig, nearest
from flows.sweeps.along import batch_size, learning_rate, range_test, weight_decay
from flows.sweeps.comparing import ablations, optimizer, schedule
from flows.sweeps.design import Arm, Design, Wishes, held_equal, seeds_from


def seeds(base: PipelineConfig, wishes: Wishes) -> Design:
    """Train the same thing under several seeds: the noise floor of all comparisons."""
    return Design(
        kind="seeds",
        arms=(Arm(name="baseline"),),
        seeds=seeds_from(base, wishes.num_seeds or 5),
        held_equal=held_equal(base),
    )


def grid(base: PipelineConfig, wishes: Wishes) -> Design:
    """Train every combination of the given values."""
    if not wishes.grid:
        raise ValueError("the sweep grid needs --grid section.field=value,value; may be repeated")
    arms = []
    for values in itertools.product(*wishes.grid.values()):
        overrides = dict(zip(wishes.grid, values, strict=True))
        name = ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in overrides.items())
        arms.append(Arm(name=name, overrides=overrides))
    axis = next(iter(wishes.grid)) if len(wishes.grid) == 1 else ""
    return Design(
        kind="grid",
        arms=tuple(arms),
        seeds=seeds_from(base, wishes.num_seeds or 1),
        axis=axis,
        held_equal=held_equal(base),
    )


SWEEPS: dict[str, Callable[[PipelineConfig, Wishes], Design]] = {
    "learning-rate": learning_rate,
    "range-test": range_test,
    "batch-size": batch_size,
    "weight-decay": weight_decay,
    "schedule": schedule,
    "optimizer": optimizer,
    "ablations": ablations,
    "seeds": seeds,
    "grid": grid,
}


def find_design(kind: str, base: PipelineConfig, wishes: Wishes) -> Design:
    """Return the design of a kind of sweep; `ValueError` names the nearest kind."""
    if kind not in SWEEPS:
        raise ValueError(f"unknown sweep {kind!r}; {nearest(kind, list(SWEEPS))}")
    return SWEEPS[kind](base, wishes)
