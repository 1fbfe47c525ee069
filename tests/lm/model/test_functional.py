"""The faithful functions equal torch's in float64 and float32, and stay finite at extremes."""

import math

import psutil
import pytest
import torch
from torch.nn import functional

from lm.model.functional import (
    cross_entropy,
    rms_normalize,
    scaled_dot_product_attention,
    silu,
    soft_cap,
    softmax,
    squared_relu,
    token_cross_entropy,
)

DTYPES = [torch.float64, torch.float32]
TOLERANCE = {torch.float64: 1e-13, torch.float32: 2e-6}
"""A few roundings of the dtype."""


def random(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    tolerance = TOLERANCE[expected.dtype]
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_equals_torchs(dtype: torch.dtype) -> None:
    """Softmax equals torch's along any dimension."""
    x = random(3, 4, 5, dtype=dtype)
    for dim in (-1, 0, 1):
        assert_close(softmax(x, dim), torch.softmax(x, dim))


def test_softmax_is_stable() -> None:
    """Adding a thousand to the logits, or multiplying them by one, gives finite shares."""
    x = random(4, 7)
    assert_close(softmax(x + 1000), torch.softmax(x, -1))
    assert torch.isfinite(softmax(x * 1e300)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1, 1000])
def test_cross_entropy_equals_torchs(dtype: torch.dtype, scale: int) -> None:
    """Cross-entropy equals torch's, at logits a thousand times as large too."""
    logits = scale * random(6, 5, 11, dtype=dtype)
    targets = torch.arange(30).view(6, 5) % 11
    expected = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    torch.testing.assert_close(cross_entropy(logits, targets), expected, rtol=2e-6, atol=1e-7)
    assert token_cross_entropy(logits, targets).shape == (6, 5)


def test_cross_entropy_gradient_equals_torchs() -> None:
    """The gradient is softmax minus one-hot, as torch's, at large logits too."""
    targets = torch.arange(6) % 5
    ours, theirs = (1000 * random(6, 5)).requires_grad_(), (1000 * random(6, 5)).requires_grad_()
    torch.autograd.backward(cross_entropy(ours, targets))
    torch.autograd.backward(functional.cross_entropy(theirs, targets))
    assert ours.grad is not None
    assert theirs.grad is not None
    assert_close(ours.grad, theirs.grad)


@pytest.mark.slow
def test_cross_entropy_of_more_than_two_to_the_31_logits() -> None:
    """Positions beyond element 2^31 are looked up where they are."""
    rows, vocab = 2**15 + 1, 2**16
    if psutil.virtual_memory().available < 8 * rows * vocab:
        pytest.skip("needs 17 GB of free memory")
    logits = torch.zeros((rows, vocab), dtype=torch.bfloat16)
    logits[-1, 5] = 16.0
    losses = token_cross_entropy(logits, torch.full((rows,), 5))
    assert float(losses[0]) == pytest.approx(math.log(vocab), rel=0.01)
    assert float(losses[-1]) == pytest.approx(math.log(1 + vocab * math.exp(-16)), abs=0.05)


@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_equal_torchs(dtype: torch.dtype) -> None:
    """SiLU and squared ReLU equal torch's."""
    x = 10 * random(50, dtype=dtype)
    assert_close(silu(x), functional.silu(x))
    assert_close(squared_relu(x), functional.relu(x) ** 2)


def test_soft_cap_bounds_the_logits() -> None:
    """Capped logits stay below the cap in size, and a cap of 0 changes nothing."""
    x = 100 * random(50)
    assert soft_cap(x, 30.0).abs().max() <= 30.0
    torch.testing.assert_close(soft_cap(x, 1e9), x)
    assert soft_cap(x, 0.0) is x


@pytest.mark.parametrize("dtype", DTYPES)
def test_rms_normalize_equals_torchs(dtype: torch.dtype) -> None:
    """RMSNorm equals torch's."""
    x, weight = random(3, 8, dtype=dtype), random(8, dtype=dtype)
    assert_close(rms_normalize(x, weight, 1e-5), functional.rms_norm(x, (8,), weight, 1e-5))


def test_rms_normalize_is_wide_inside() -> None:
    """Half-precision values whose squares overflow are normalised, in their own dtype."""
    x = torch.full((4,), 1000.0, dtype=torch.float16)
    normalized = rms_normalize(x, torch.ones(4), 1e-5)
    assert normalized.dtype == torch.float16
    torch.testing.assert_close(normalized, torch.ones(4, dtype=torch.float16))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
def test_attention_equals_torchs(dtype: torch.dtype, leading: tuple[int, ...]) -> None:
    """Attention equals torch's SDPA for any leading dimensions, with and without a mask."""
    queries, keys, values = (random(*leading, 6, 4, dtype=dtype) + shift for shift in range(3))
    mask = torch.ones(6, 6, dtype=torch.bool).tril()
    for chosen in (None, mask):
        expected = functional.scaled_dot_product_attention(queries, keys, values, chosen)
        assert_close(scaled_dot_product_attention(queries, keys, values, chosen), expected)
