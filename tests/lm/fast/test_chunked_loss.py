"""The chunked cross-entropy equals the whole one in value and gradient, and holds no logits."""

import pytest
import torch

from lm.fast.chunk_gradient import chunk_gradient
from lm.fast.chunked_loss import LossForm, chunked_cross_entropy, chunked_token_losses
from lm.machine.probe import has_compiler
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
@pytest.mark.parametrize("form", ["unrolled", "whole", "loop"])
def test_value_and_gradient_equal_the_whole_one(
    dtype: torch.dtype, softcap: float, z_loss: float, chunk_size: int, form: LossForm
) -> None:
    """Loss, gradient of hidden states and of the matrix equal those with all logits held."""
    hidden, weight, targets = problem(dtype)
    expected = whole(hidden, weight, targets, softcap, z_loss)
    gradients = torch.autograd.grad(3 * expected, (hidden, weight))
    total, _ = chunked_cross_entropy(
        hidden,
        weight,
        targets,
        softcap=softcap,
        z_loss=z_loss,
        chunk_size=chunk_size,
        form=form,
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


@pytest.mark.parametrize("z_loss", [0.0, 0.01])
def test_comparing_ids_gives_the_bits_of_the_scatter(z_loss: float) -> None:
    """The form that fuses and the one that scatters agree in every bit."""
    hidden, weight, targets = problem(torch.float32)
    raw = (hidden @ weight.T).flatten(0, 1).detach()
    for softcap in (0.0, 3.0):
        scattered, fused = (
            chunk_gradient(
                raw,
                targets.flatten(),
                softcap=softcap,
                z_loss=z_loss,
                num_positions=30,
                is_fusible=is_fusible,
            )
            for is_fusible in (False, True)
        )
        assert all(torch.equal(a, b) for a, b in zip(scattered, fused, strict=True))


# torch 2.13's own compiler uses parts of torch that it calls deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.skipif(not has_compiler("cpu"), reason="no C++ compiler")
def test_the_loop_compiles_once_for_any_number_of_chunks() -> None:
    """Six chunks in compiled code: one graph around the loop, one in it, and equal results."""
    from torch._dynamo.utils import counters

    hidden, weight, targets = problem(torch.float32)

    def loss(h: torch.Tensor, w: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return chunked_cross_entropy(h, w, t, chunk_size=5, form="loop")[0]

    expected = torch.autograd.grad(loss(hidden, weight, targets), (hidden, weight))
    before = counters["stats"]["unique_graphs"]
    compiled = torch.compile(loss, fullgraph=True, dynamic=False)
    found = torch.autograd.grad(compiled(hidden, weight, targets), (hidden, weight))
    assert counters["stats"]["unique_graphs"] - before == 2
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-6, atol=2e-6)


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
