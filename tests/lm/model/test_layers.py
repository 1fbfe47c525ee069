"""Each faithful layer equals its definition in torch, and starts as the course says."""

import math

import pytest
import torch
from torch.nn import functional

from lm.config import ModelConfig
from lm.model.layers import (
    Embedding,
    Linear,
    RMSNorm,
    RotaryPositionalEmbedding,
    SwiGLU,
    build_feed_forward,
)

TOLERANCE = {torch.float64: 1e-12, torch.float32: 5e-6}
DTYPES = list(TOLERANCE)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    tolerance = TOLERANCE[expected.dtype]
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_linear_equals_torchs(dtype: torch.dtype, leading: tuple[int, ...]) -> None:
    """Linear is x W^T on any leading dimensions."""
    layer = Linear(8, 5, generator=seeded()).to(dtype)
    x = torch.randn(*leading, 8, generator=seeded(), dtype=dtype)
    assert_close(layer(x), functional.linear(x, layer.weight))


@pytest.mark.parametrize("dtype", DTYPES)
def test_embedding_equals_torchs_in_value_and_gradient(dtype: torch.dtype) -> None:
    """Embedding looks up rows; repeated ids add their gradients."""
    layer = Embedding(7, 4, generator=seeded()).to(dtype)
    token_ids = torch.tensor([[1, 1, 6], [0, 1, 3]])
    torch.autograd.backward(layer(token_ids).square().sum())
    weight = layer.weight.detach().clone().requires_grad_()
    looked_up = functional.embedding(token_ids, weight)
    torch.autograd.backward(looked_up.square().sum())
    assert_close(layer(token_ids).detach(), looked_up.detach())
    assert layer.weight.grad is not None
    assert weight.grad is not None
    assert_close(layer.weight.grad, weight.grad)


def test_initial_weights_are_truncated_normals() -> None:
    """Linear starts at N(0, 2/(d_in+d_out)), Embedding at N(0, 1), both cut at 3 sigma."""
    linear = Linear(600, 400, generator=seeded()).weight.detach()
    embedding = Embedding(500, 400, generator=seeded()).weight.detach()
    # A normal cut at 3 sigma has 0.98658 of the deviation; 5 standard errors of n values.
    for weight, sigma in ((linear, math.sqrt(2 / 1000)), (embedding, 1.0)):
        assert weight.abs().max() <= 3 * sigma
        tolerance = 5 / math.sqrt(2 * weight.numel())
        assert float(weight.std()) / sigma == pytest.approx(0.98658, rel=tolerance)
        assert abs(float(weight.mean())) < 5 * sigma / math.sqrt(weight.numel())


@pytest.mark.parametrize("dtype", DTYPES)
def test_rmsnorm_equals_torchs(dtype: torch.dtype) -> None:
    """RMSNorm equals torch.nn.RMSNorm with the same gain."""
    ours, theirs = RMSNorm(8, 1e-5).to(dtype), torch.nn.RMSNorm(8, 1e-5, dtype=dtype)
    with torch.no_grad():
        ours.weight.copy_(torch.linspace(0.5, 2, 8))
        theirs.weight.copy_(ours.weight)
    x = torch.randn(2, 3, 8, generator=seeded(), dtype=dtype)
    assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_swiglu_equals_its_definition(dtype: torch.dtype) -> None:
    """SwiGLU is W2 (silu(W1 x) * W3 x)."""
    layer = SwiGLU(8, 12, generator=seeded()).to(dtype)
    x = torch.randn(2, 3, 8, generator=seeded(), dtype=dtype)
    gate = functional.silu(functional.linear(x, layer.w1.weight))
    expected = functional.linear(gate * functional.linear(x, layer.w3.weight), layer.w2.weight)
    assert_close(layer(x), expected)


@pytest.mark.parametrize("ffn", ["swiglu", "silu", "relu2"])
def test_feed_forwards_have_the_same_number_of_parameters(ffn: str) -> None:
    """Each kind is parameter-matched to SwiGLU."""
    config = ModelConfig(d_model=32, num_heads=4, d_ff=64, ffn=ffn)  # type: ignore[arg-type]  # one of the Literal's
    layer = build_feed_forward(config, generator=seeded())
    assert sum(p.numel() for p in layer.parameters()) == 3 * 32 * 64
    assert layer(torch.zeros(2, 3, 32)).shape == (2, 3, 32)


def rotate_as_complex(x: torch.Tensor, theta: float, positions: torch.Tensor) -> torch.Tensor:
    """Rotate pairs as complex numbers times e^(i position theta^(-2j/d)), in float64."""
    d_head = x.shape[-1]
    frequencies = theta ** (-torch.arange(0, d_head, 2, dtype=torch.float64) / d_head)
    angles = positions.double().unsqueeze(-1) * frequencies
    pairs = torch.view_as_complex(x.double().reshape(*x.shape[:-1], -1, 2))
    turned = pairs * torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(turned).flatten(-2)


@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
def test_rope_rotates_interleaved_pairs_at_explicit_positions(leading: tuple[int, ...]) -> None:
    """RoPE equals complex multiplication, at any positions in any order."""
    rope = RotaryPositionalEmbedding(10_000.0, 8, 2048)
    positions = torch.tensor([0, 1, 7, 2047, 3])
    x = torch.randn(*leading, 5, 8, generator=seeded())
    expected = rotate_as_complex(x, 10_000.0, positions).float()
    torch.testing.assert_close(rope(x, positions), expected, rtol=1e-5, atol=1e-6)


def test_rope_keeps_relative_positions() -> None:
    """The product of a rotated query and key depends on their distance only."""
    rope = RotaryPositionalEmbedding(100.0, 16, 64)
    query, key = torch.randn(2, 1, 16, generator=seeded())
    products = [
        float(rope(query, torch.tensor([p + 5])) @ rope(key, torch.tensor([p])).T) for p in (0, 40)
    ]
    assert products[0] == pytest.approx(products[1], rel=1e-4)


def test_rope_refuses_odd_heads() -> None:
    """An odd head has no pairs."""
    with pytest.raises(ValueError, match=r"d_head \(5\) must be even"):
        RotaryPositionalEmbedding(10_000.0, 5, 16)
