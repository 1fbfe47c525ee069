"""Multi-head attention equals a direct use of torch's, with and without RoPE and groups."""

import pytest
import torch
from torch.nn import functional

from lm.config import ModelConfig
from lm.model.attention import MultiHeadSelfAttention, merge_heads, split_heads

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-5}  # RoPE's tables are float32 in both


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def reference(layer: MultiHeadSelfAttention, x: torch.Tensor, config: ModelConfig) -> torch.Tensor:
    """Compute the same from the weights with torch's functions."""
    queries, keys, values = (
        split_heads(functional.linear(x, projection.weight), heads)
        for projection, heads in (
            (layer.q_proj, config.num_heads),
            (layer.k_proj, config.kv_heads),
            (layer.v_proj, config.kv_heads),
        )
    )
    if layer.rope is not None:
        positions = torch.arange(x.shape[-2])
        queries, keys = layer.rope(queries, positions), layer.rope(keys, positions)
    attended = functional.scaled_dot_product_attention(
        queries, keys, values, is_causal=True, enable_gqa=True
    )
    return functional.linear(merge_heads(attended), layer.output_proj.weight)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("position", ["rope", "none"])
@pytest.mark.parametrize("num_kv_heads", [0, 2, 1])
def test_attention_equals_torchs(dtype: torch.dtype, position: str, num_kv_heads: int) -> None:
    """Projection, heads, causal attention and output equal torch's, for grouped heads too."""
    config = ModelConfig(
        d_model=16,
        num_heads=4,
        context_length=12,
        position=position,  # type: ignore[arg-type]  # one of the Literal's
        num_kv_heads=num_kv_heads,
    )
    layer = MultiHeadSelfAttention(config, generator=seeded()).to(dtype)
    x = torch.randn(2, 10, 16, generator=seeded(), dtype=dtype)
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(
        layer(x)[0], reference(layer, x, config), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_attention_takes_any_leading_dimensions(leading: tuple[int, ...]) -> None:
    """Each sequence is attended by itself, whatever dimensions come before it."""
    config = ModelConfig(d_model=16, num_heads=4, context_length=12, num_kv_heads=2)
    layer = MultiHeadSelfAttention(config, generator=seeded())
    x = torch.randn(*leading, 7, 16, generator=seeded())
    output = layer(x)[0]
    assert output.shape == x.shape
    first = (0,) * len(leading)
    torch.testing.assert_close(output[first], layer(x[first])[0])


def test_attention_is_causal() -> None:
    """A change at a position changes nothing before it."""
    config = ModelConfig(d_model=16, num_heads=4, context_length=12)
    layer = MultiHeadSelfAttention(config, generator=seeded())
    x = torch.randn(1, 8, 16, generator=seeded())
    changed = x.clone()
    changed[:, 5] += 1
    before, after = layer(x)[0], layer(changed)[0]
    torch.testing.assert_close(before[:, :5], after[:, :5], rtol=0, atol=0)
    assert not torch.allclose(before[:, 5:], after[:, 5:])


def test_explicit_positions_shift_nothing_when_all_move() -> None:
    """RoPE is relative: positions 3, 4, ... give the same as 0, 1, ..."""
    config = ModelConfig(d_model=16, num_heads=4, context_length=32)
    layer = MultiHeadSelfAttention(config, generator=seeded())
    x = torch.randn(2, 8, 16, generator=seeded())
    shifted = layer(x, torch.arange(3, 11).expand(2, 8))[0]
    torch.testing.assert_close(layer(x)[0], shifted, rtol=1e-4, atol=1e-5)
    reversed_positions = layer(x, torch.arange(7, -1, -1))[0]
    assert not torch.allclose(layer(x)[0], reversed_positions)


def test_heads_are_merged_as_they_were_split() -> None:
    """Merging undoes splitting."""
    x = torch.randn(2, 5, 12, generator=seeded())
    torch.testing.assert_close(merge_heads(split_heads(x, 3)), x, rtol=0, atol=0)
