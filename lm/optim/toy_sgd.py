"""The course's toy: gradient descent on the mean of squares, at three learning rates.

CS336 A1, problem `learning_rate_tuning`: the rate decays as 1 / sqrt(t + 1), and the loss is the
mean of the squares of 10 x 10 weights. The gradient of one weight is 2 w / 100, so a step
multiplies every weight by 1 - 2 rate / (100 sqrt(t + 1)): the loss falls in a step where that is
between -1 and 1, which at the first step means a rate below 100.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

LEARNING_RATES = (1e1, 1e2, 1e3)
NUM_STEPS = 10
SHAPE = (10, 10)
INITIAL_DEVIATION = 5.0
"""All as the problem has them."""

NEARLY_ZERO = 1e-6
"""Share of the first loss below which the rate counts as fast."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToyRun:
    """Losses of one learning rate."""

    learning_rate: float
    losses: tuple[float, ...]
    """Before each step."""
    verdict: Literal["slow", "fast", "diverges"]


def toy_runs(learning_rates: tuple[float, ...] = LEARNING_RATES, *, seed: int = 0) -> list[ToyRun]:
    """Run the problem at each rate, from the same weights."""
    return [_run(learning_rate, seed) for learning_rate in learning_rates]


def _run(learning_rate: float, seed: int) -> ToyRun:
    generator = torch.Generator().manual_seed(seed)
    weights = INITIAL_DEVIATION * torch.randn(SHAPE, generator=generator)
    weights.requires_grad_()
    losses = []
    for step in range(NUM_STEPS):
        loss = (weights**2).mean()
        losses.append(loss.item())
        (gradient,) = torch.autograd.grad(loss, weights)
        sgd_update(weights, gradient, learning_rate=learning_rate, step=step)
    return ToyRun(learning_rate=learning_rate, losses=tuple(losses), verdict=_verdict(losses))


@torch.no_grad()
def sgd_update(
    weights: Float[Tensor, "..."],
    gradient: Float[Tensor, "..."],
    *,
    learning_rate: float,
    step: int,
) -> None:
    """Take one step of SGD in place; `step` counts from 0 (CS336 A1, section 4.2.1)."""
    weights -= learning_rate / (step + 1) ** 0.5 * gradient


def _verdict(losses: list[float]) -> Literal["slow", "fast", "diverges"]:
    if not losses[-1] <= losses[0]:  # not a number, too
        return "diverges"
    return "fast" if losses[-1] < NEARLY_ZERO * losses[0] else "slow"
