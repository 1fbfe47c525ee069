"""Tests of `flows/sweeps/results.py`."""

import math
import re
from typing import Any

import pytest

from flows.sweeps.along import RATE
from flows.sweeps.design import Arm, Design
from flows.sweeps.results import (
    SweepFacts,
    comparisons,
    noise_floor,
    range_of_rates,
    relation_of_rates,
    sweep_result,
)
from tasks.experiments.sweep_results import CurvePoint, Trial


def trial(arm: str, seed: int, loss: float | None, **given: Any) -> Trial:
    """A finished trial, unless told otherwise."""
    values = {"label": f"{arm} {seed}", "overrides": {}, "status": "finished", **given}
    return Trial(arm=arm, seed=seed, valid_loss=loss, **values)


DESIGN = Design(
    kind="ablations",
    arms=(Arm(name="baseline"), Arm(name="NoPE"), Arm(name="SiLU")),
    seeds=(1, 2, 3),
    against="baseline",
    rate_factors=(0.5, 1.0),
    tuning_seed=0,
)


def test_arms_are_compared_at_equal_seeds_without_the_tuning() -> None:
    """A diverged run has no pair; an arm with one pair left is not compared."""
    trials = [trial("baseline", seed, 2.0 + seed / 10) for seed in (1, 2, 3)]
    trials += [trial("NoPE", seed, 2.5 + seed / 10) for seed in (1, 2)]
    trials += [trial("NoPE", 3, 9.0, status="diverged"), trial("NoPE", 0, 1.0)]
    trials += [trial("SiLU", 1, 2.0)]
    (found,) = comparisons(DESIGN, trials)
    assert (found.arm, found.against, found.num_pairs) == ("NoPE", "baseline", 2)
    assert found.difference == pytest.approx(0.5)
    assert "only 2 of 3 planned pairs" in found.verdict
    assert "Bonferroni, 2 comparisons" in found.correction


def test_the_noise_floor_is_the_spread_of_one_arm_over_its_seeds() -> None:
    """Of the baseline, or of the only arm."""
    design = Design(kind="seeds", arms=(Arm(name="baseline"),), seeds=(0, 1, 2))
    floor = noise_floor(design, [trial("baseline", seed, 2.0 + seed) for seed in (0, 1, 2)])
    assert floor is not None
    assert (floor.num_seeds, floor.mean, floor.standard_deviation) == (3, 3.0, 1.0)
    assert noise_floor(design, [trial("baseline", 0, 2.0)]) is None


@pytest.mark.parametrize(
    ("endings", "expected"),
    [
        ({1e-3: 3.0, 1e-2: 2.0, 1e-1: None}, "best rate is 0.01; the first divergent one is 0.1,"),
        ({1e-3: 3.0, 1e-2: 2.0}, "no higher one diverged"),
        ({1e-1: None}, "no rate gave a finished training"),
    ],
)
def test_the_best_rate_is_related_to_the_first_divergent_one(
    endings: dict[float, float | None], expected: str
) -> None:
    """The edge of stability, as far as the sweep saw it."""
    trials = [
        trial("", 0, loss, overrides={RATE: rate}, status="finished" if loss else "diverged")
        for rate, loss in endings.items()
    ]
    assert expected in relation_of_rates(trials)


def test_a_range_test_names_three_rates() -> None:
    """Fastest, lowest, lost: a loss that falls by 3 around 1e-3 and rises from 1e-1 on."""
    curve = []
    for number in range(60):
        rate = 1e-5 * 10 ** (number / 10)
        fallen = 3 / (1 + math.exp(-(number - 20) / 2))
        risen = max(0.0, (number - 40) / 2)
        loss = 7 - fallen + risen
        curve.append(
            CurvePoint(step=number, tokens=0, seconds=0, train_loss=loss, learning_rate=rate)
        )
    note = range_of_rates(trial("", 0, 9.0, curve=tuple(curve)))
    found = [float(number) for number in re.findall(r"\d[\d.e-]*\d", note)]
    assert found[0] == pytest.approx(1e-3, rel=0.7)
    assert found[1] == pytest.approx(1e-1, rel=0.3)
    assert found[2] == pytest.approx(0.5, rel=0.5)
    assert "too few steps" in range_of_rates(trial("", 0, 9.0))


def test_a_result_says_how_it_was_tuned_and_what_was_left_out() -> None:
    """The notes are what a caption must say."""
    result = sweep_result(
        DESIGN, [], SweepFacts(preset="p", corpus="c", command="owt"), num_left_out=4
    )
    notes = " ".join(result.notes)
    assert "3 seeds a side, fixed before the first training" in notes
    assert "tuned alone at 2 rates (0.5, 1 times the preset's) with seed 0" in notes
    assert "4 trials were left out" in notes
