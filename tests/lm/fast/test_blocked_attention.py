"""Attention in blocks equals torch's in value and gradient, whatever the length."""

import pytest
import torch
from torch.nn import functional

from lm.fast.blocked_attention import blocked_attention

TOLERANCE = {torch.float64: 1e-12, torch.float32: 5e-6}


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("length", [1, 128, 129, 300, 520])
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_blocked_equals_torchs(dtype: torch.dtype, length: int, kv_heads: int) -> None:
    """One block or several, a last one that is shorter, and grouped heads give torch's result."""
    generator = torch.Generator().manual_seed(0)
    queries, keys, values = (
        torch.randn(2, heads, length, 8, generator=generator, dtype=dtype).requires_grad_()
        for heads in (4, kv_heads, kv_heads)
    )
    operands = (queries, keys, values)
    upstream = torch.randn(2, 4, length, 8, generator=generator, dtype=dtype)
    ours = blocked_attention(*operands)
    theirs = functional.scaled_dot_product_attention(
        queries, keys, values, is_causal=True, enable_gqa=True
    )
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    for our, their in zip(
        torch.autograd.grad(ours, operands, upstream),
        torch.autograd.grad(theirs, operands, upstream),
        strict=True,
    ):
        torch.testing.assert_close(our, their, rtol=tolerance, atol=10 * tolerance)


def test_large_scores_stay_finite() -> None:
    """Scores of ten thousand neither overflow nor lose the gradient."""
    operands = [1000 * torch.ones(1, 1, 200, 4).cumsum(2).requires_grad_() for _ in range(3)]
    output = blocked_attention(*operands)
    gradients = torch.autograd.grad(output.sum(), operands)
    assert all(torch.isfinite(tensor).all() for tensor in (output, *gradients))
