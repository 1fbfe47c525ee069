"""The toy's losses are those of its closed form."""

import pytest
import torch

from lm.optim.toy_sgd import LEARNING_RATES, NUM_STEPS, toy_runs


def test_the_three_rates_are_slow_fast_and_divergent() -> None:
    """10 decays slowly, 100 reaches zero at the fourth step, 1,000 grows without bound."""
    runs = toy_runs()
    assert [run.verdict for run in runs] == ["slow", "fast", "diverges"]
    assert runs[0].losses[0] > runs[0].losses[-1] > runs[0].losses[0] / 10
    weights = 5 * torch.randn(10, 10, generator=torch.Generator().manual_seed(0))
    assert runs[0].losses[0] == pytest.approx((weights**2).mean().item())
    assert runs[2].losses[-1] > 1e6 * runs[2].losses[0]


@pytest.mark.parametrize("learning_rate", LEARNING_RATES)
def test_each_step_multiplies_the_weights_by_a_known_factor(learning_rate: float) -> None:
    """The loss changes by the square of 1 - 2 rate / (100 sqrt(t + 1))."""
    (run,) = toy_runs((learning_rate,), seed=3)
    expected = run.losses[0]
    for step in range(NUM_STEPS):
        assert run.losses[step] == pytest.approx(expected, rel=1e-4, abs=1e-9)
        expected *= (1 - 2 * learning_rate / (100 * (step + 1) ** 0.5)) ** 2


def test_the_first_step_at_a_rate_of_100_only_turns_the_signs() -> None:
    """The factor is -1 then, the edge of stability: the loss is the same."""
    first, second = toy_runs((100.0,))[0].losses[:2]
    assert second == pytest.approx(first, rel=1e-6)
