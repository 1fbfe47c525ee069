"""The chunked cross-entropy equals the whole one in value and gradient, and holds no logits."""

import pytest
import torch

from lm.fast.chunked_loss import chunked_cross_entropy, chunked_token_losses
from lm.model.functional import log_partition, soft_cap, token_cross_entropy

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6}
NUM_POSITIONS, D_MODEL, VOCAB = 30, 8, 50


def problem(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 15, D_MODEL, generator=generator, dtype=dtype).requires_grad_()
    weight = torch.randn(VOCAB, D_MODEL, generator=generator, dtype=dtype).requires_grad_()
    return hidden, weight, torch.randint(0, VOCAB, (2, 15), generator=generator)


def whole(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    softcap: float,
    z_loss: float,
) -> torch.Tensor:
    logits = soft_cap(hidden @ weight.T, softcap)
    squares = log_partition(logits).square()
    return (token_cross_entropy(logits, targets) + z_loss * squares).mean()


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("softcap", [0.0, 3.0])
@pytest.mark.parametrize("z_loss", [0.0, 0.01])
@pytest.mark.parametrize("chunk_size", [7, 30, 512])
def test_value_and_gradient_equal_the_whole_one(
    dtype: torch.dtype, softcap: float, z_loss: float, chunk_size: int
) -> None:
    """Loss, gradient of hidden states and of the matrix equal those with all logits held."""
    hidden, weight, targets = problem(dtype)
    expected = whole(hidden, weight, targets, softcap, z_loss)
    gradients = torch.autograd.grad(3 * expected, (hidden, weight))
    total, _ = chunked_cross_entropy(
        hidden, weight, targets, softcap=softcap, z_loss=z_loss, chunk_size=chunk_size
    )
    chunked = torch.autograd.grad(3 * total, (hidden, weight))
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(total, expected, rtol=tolerance, atol=tolerance)
    for ours, theirs in zip(chunked, gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_gradient_passes_a_numerical_check() -> None:
    """Finite differences confirm the gradient that is written by hand."""
    hidden, weight, targets = problem(torch.float64)
    small, few = hidden[:, :2].detach().requires_grad_(), targets[:, :2]

    def loss(h: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return chunked_cross_entropy(h, w, few, softcap=5.0, z_loss=0.1, chunk_size=3)[0]

    assert torch.autograd.gradcheck(loss, (small, weight))


@pytest.mark.parametrize("softcap", [0.0, 3.0])
def test_token_losses_equal_the_whole_ones(softcap: float) -> None:
    """Each position's loss equals that with all logits held, in its place."""
    hidden, weight, targets = problem(torch.float64)
    expected = token_cross_entropy(soft_cap(hidden @ weight.T, softcap), targets).detach()
    losses = chunked_token_losses(hidden, weight, targets, softcap=softcap, chunk_size=7)
    torch.testing.assert_close(losses, expected)


def test_huge_logits_stay_finite() -> None:
    """Logits of a million give a finite loss and gradient."""
    hidden, weight, targets = problem(torch.float32)
    total, _ = chunked_cross_entropy(1e6 * hidden, weight, targets)
    (gradient,) = torch.autograd.grad(total, hidden)
    assert torch.isfinite(total)
    assert torch.isfinite(gradient).all()
