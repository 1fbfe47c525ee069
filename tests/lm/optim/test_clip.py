"""Gradient clipping equals torch's and returns the norm before."""

import math

import pytest
import torch

from lm.optim.clip import clip_factor, clip_gradients, gradient_norm


def parameters(scale: float = 1.0) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for shape in ((3, 4), (5,), (2, 2, 2)):
        parameter = torch.nn.Parameter(torch.zeros(shape))
        parameter.grad = scale * torch.randn(shape, generator=generator)
        made.append(parameter)
    return [*made, torch.nn.Parameter(torch.zeros(3))]  # one without a gradient


@pytest.mark.parametrize("max_l2_norm", [0.01, 1.0, 1e6])
def test_clipping_equals_torchs(max_l2_norm: float) -> None:
    """Norm and clipped gradients equal clip_grad_norm_'s."""
    ours, theirs = parameters(), parameters()
    norm = clip_gradients(ours, max_l2_norm)
    torch.testing.assert_close(norm, torch.nn.utils.clip_grad_norm_(theirs, max_l2_norm))
    for our, their in zip(ours[:3], theirs[:3], strict=True):
        torch.testing.assert_close(our.grad, their.grad)


def test_the_norm_before_is_returned() -> None:
    """The returned norm is that of the gradients as they came."""
    before = math.sqrt(
        sum(float(p.grad.square().sum()) for p in parameters() if p.grad is not None)
    )
    made = parameters()
    assert float(clip_gradients(made, 0.5)) == pytest.approx(before)
    assert float(gradient_norm(made)) == pytest.approx(0.5, rel=1e-4)


def test_zero_does_not_clip() -> None:
    """A limit of 0 is off."""
    made = parameters(1e6)
    clip_gradients(made, 0.0)
    torch.testing.assert_close(made[0].grad, parameters(1e6)[0].grad, rtol=0, atol=0)


def test_a_known_norm_is_used() -> None:
    """A norm that the caller has need not be computed again."""
    made = parameters()
    clip_gradients(made, 1.0, norm=torch.tensor(10.0))
    expected = parameters()[0].grad
    assert expected is not None
    torch.testing.assert_close(made[0].grad, expected / 10.0)


def test_no_gradients_have_norm_zero() -> None:
    """Parameters without gradients are fine."""
    assert float(clip_gradients([torch.nn.Parameter(torch.zeros(3))], 1.0)) == 0.0


def test_the_factor_is_one_up_to_the_limit() -> None:
    """Above it the gradients are scaled to it."""
    factors = [clip_factor(torch.tensor(norm), 2.0) for norm in (1.0, 2.0, 4.0)]
    assert [float(factor) for factor in factors] == [1.0, 1.0, pytest.approx(0.5)]
