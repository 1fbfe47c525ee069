"""Learning rates equal values computed by hand."""

import math
from dataclasses import replace

import pytest

from lm.config import TrainConfig
from lm.optim.schedule import cosine_learning_rate, learning_rate, learning_rate_factor


def config(schedule: str, **changes: float) -> TrainConfig:
    return TrainConfig(
        schedule=schedule,  # type: ignore[arg-type]  # one of the Literal's
        max_steps=110,
        warmup_steps=10,
        max_learning_rate=1.0,
        min_learning_rate=0.1,
        **changes,  # type: ignore[arg-type]  # numbers only
    )


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.0), (5, 0.5), (10, 1.0), (35, 0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2), (60, 0.55)],
)
def test_cosine(step: int, expected: float) -> None:
    """Warm-up is linear from 0; the cosine is half-way at its middle."""
    assert learning_rate(step, config("cosine")) == pytest.approx(expected)


def test_cosine_of_the_course_ends_at_the_minimum_and_stays() -> None:
    """The course's function: warm-up 7, cosine to 21, then constant (CS336 A1's own example)."""
    rates = [
        cosine_learning_rate(
            step, max_learning_rate=1.0, min_learning_rate=0.1, warmup_steps=7, cosine_steps=21
        )
        for step in (0, 1, 7, 14, 21, 24)
    ]
    assert rates == pytest.approx([0.0, 1 / 7, 1.0, 0.55, 0.1, 0.1])


@pytest.mark.parametrize("step", [0, 3, 10, 42, 110, 500])
def test_cosine_config_equals_the_courses_function(step: int) -> None:
    """With max_steps as cosine_steps both are the same."""
    expected = cosine_learning_rate(
        step, max_learning_rate=1.0, min_learning_rate=0.1, warmup_steps=10, cosine_steps=110
    )
    assert learning_rate(step, config("cosine")) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        ("linear", 60, 0.55),
        ("linear", 110, 0.1),
        ("constant", 60, 1.0),
        ("constant", 110, 1.0),
        ("wsd", 60, 1.0),
        ("wsd", 90, 1.0),
        ("wsd", 100, 0.55),
        ("wsd", 110, 0.1),
    ],
)
def test_other_schedules(schedule: str, step: int, expected: float) -> None:
    """Linear, constant, and warm-up-stable-decay with the last fifth linear to the minimum."""
    assert learning_rate(step, config(schedule)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("step", "clock_share", "expected"),
    [
        (5, 0.9, 0.5),  # still warming up, whatever the clock says
        (11, 0.5, 0.55),
        (11, 1.2, 0.1),
        (60, 0.1, 0.55),
        (110, 0.2, 0.1),
    ],
)
def test_the_schedule_follows_the_limit_that_is_nearer(
    step: int, clock_share: float, expected: float
) -> None:
    """A run by the clock that reaches `max_steps` first has decayed by then too."""
    cosine = config("cosine", max_minutes=1.0)
    assert learning_rate(step, cosine, clock_share=clock_share) == pytest.approx(expected)


def test_the_factor_is_the_share_of_the_peak() -> None:
    """All groups scale by the same factor."""
    assert learning_rate_factor(60, config("linear")) == pytest.approx(0.55)


def test_no_warmup_starts_at_the_peak() -> None:
    """warmup_steps=0 divides by nothing."""
    assert learning_rate(0, TrainConfig(warmup_steps=0)) == pytest.approx(3e-3)
    course = cosine_learning_rate(
        0, max_learning_rate=1.0, min_learning_rate=0.1, warmup_steps=0, cosine_steps=10
    )
    assert course == 1.0


def test_without_a_decay_share_the_rate_stays_at_the_peak() -> None:
    """wsd_decay_share=0 divides by nothing either."""
    stable = TrainConfig(schedule="wsd", wsd_decay_share=0.0, max_steps=100, warmup_steps=10)
    assert learning_rate(99, stable) == pytest.approx(stable.max_learning_rate)


def test_a_growing_rate_gains_the_same_factor_in_each_step() -> None:
    """From the minimum to the peak, for a test of the range of rates."""
    config = TrainConfig(
        schedule="growing",
        max_steps=4,
        warmup_steps=0,
        min_learning_rate=1e-4,
        max_learning_rate=1.0,
    )
    rates = [learning_rate(step, config) for step in range(5)]
    assert rates == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    with pytest.raises(ValueError, match="must be above 0 with schedule='growing'"):
        replace(config, min_learning_rate=0.0)
