"""Tests of `lm/training/job/ending.py`."""

import math
from typing import Any

import pytest

from lm.config import TrainConfig
from lm.training.job.ending import Ending, judge_ending

CONFIG = TrainConfig(max_steps=400, warmup_steps=0, schedule="constant", max_learning_rate=0.5)
VOCAB_SIZE = 1097  # a loss of 7.0 for equal guesses


def judge(losses: list[float | None], final_loss: float | None = 3.0, **given: Any) -> Ending:
    """Judge a run that logged these losses every 10 steps; the unigram entropy is 5."""
    lines = [
        {"step": 10 * (number + 1), "train/loss" if loss is not None else "spike/loss": loss}
        for number, loss in enumerate(losses)
    ]
    return judge_ending(
        lines,
        CONFIG,
        given_up=bool(given.get("given_up")),
        final_loss=final_loss,
        unigram_entropy=5.0,
        vocab_size=VOCAB_SIZE,
    )


def falling(num_points: int = 40, low: float = 3.0) -> list[float | None]:
    """Losses of a healthy run, from 7 down to `low`, with noise."""
    return [low + (7 - low) * math.exp(-n / 8) + 0.1 * (-1) ** n for n in range(num_points)]


def test_a_healthy_run_has_finished() -> None:
    """One bad batch and a rise by less than half of what was learned are noise."""
    losses = falling()
    losses[20] = 9.0
    assert judge(losses) == Ending(status="finished", last_finite_loss=losses[-1])
    assert judge([*falling(), 4.0, 4.2, 4.4, 4.4, 4.4]).status == "finished"


def test_a_run_that_gives_back_half_of_it_has_diverged() -> None:
    """The step is the first after which the loss stayed up; the rate is that of the step."""
    ending = judge([*falling(), *[6.0 + 0.1 * n for n in range(10)]])
    assert (ending.status, ending.learning_rate) == ("diverged", 0.5)
    assert ending.step == 430  # the third high loss of five turns the median
    assert ending.last_finite_loss == pytest.approx(6.9)


def test_a_run_that_overfits_has_not_diverged() -> None:
    """The training loss decides, not that of other text."""
    assert judge(falling(low=1.0), final_loss=6.5).status == "finished"


def test_a_run_without_finite_loss_has_diverged_where_it_was_lost() -> None:
    """Given up after spikes, or with weights whose loss is not finite."""
    losses = [*falling(5), None, None]
    for ending in (judge(losses, given_up=True), judge(losses, final_loss=None)):
        assert (ending.status, ending.step) == ("diverged", 60)
        assert ending.last_finite_loss == losses[4]


def test_a_run_that_was_thrown_up_and_learned_no_more_than_words_has_diverged() -> None:
    """Clipped gradients bring it back to the unigram entropy, and no further."""
    thrown: list[float | None] = [6.9, 30.0, 40.0, 20.0, 12.0, 8.0, *[5.0] * 30]
    for final_loss in (5.02, 4.6):
        ending = judge(thrown, final_loss=final_loss)
        assert (ending.status, ending.step) == ("diverged", 20)
    assert judge([*thrown, *[3.0] * 9], final_loss=3.0).status == "finished"


def test_a_run_that_ends_at_the_unigram_entropy_is_stuck() -> None:
    """It knows how often tokens occur, and makes no progress; a slow run still makes some."""
    assert judge([6.0, *[5.02] * 30], final_loss=5.03).status == "stuck"
    slow: list[float | None] = [7.0 - 0.05 * n for n in range(40)]
    assert judge(slow, final_loss=5.03).status == "finished"


def test_a_run_too_short_for_a_line_is_judged_too() -> None:
    """No line, no divergence."""
    assert judge([], final_loss=7.0) == Ending(status="finished", last_finite_loss=None)
