"""Causal multi-head self-attention, with grouped queries, QK-norm and value residual by config.

Legend: B batch, T sequence, S keys, D d_model, H query heads, G key-value heads, K d_head.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lm.config import ModelConfig
from lm.model.kernels import FAITHFUL
from lm.model.kv_cache import LayerCache
from lm.model.layers import Linear, RMSNorm, RotaryPositionalEmbedding


def split_heads(x: Float[Tensor, "... seq d"], num_heads: int) -> Float[Tensor, "... h seq k"]:
    """Cut the last dimension into heads and move them before the sequence."""
    return x.reshape(*x.shape[:-1], num_heads, -1).transpose(-3, -2)


def merge_heads(x: Float[Tensor, "... h seq k"]) -> Float[Tensor, "... seq d"]:
    """Undo `split_heads`."""
    return x.transpose(-3, -2).flatten(-2)


def _default_positions(x: Float[Tensor, "... seq d"]) -> Int[Tensor, " seq"]:
    return torch.arange(x.shape[-2], device=x.device)


class MultiHeadSelfAttention(nn.Module):
    """Project to queries, keys and values, attend causally, project back."""

    def __init__(
        self,
        config: ModelConfig,
        *,
        is_first_layer: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.kernels = FAITHFUL
        d_model, d_head = config.d_model, config.d_head
        d_kv = config.kv_heads * d_head
        self.num_heads, self.kv_heads = config.num_heads, config.kv_heads
        self.q_proj = Linear(d_model, d_model, generator=generator)
        self.k_proj = Linear(d_model, d_kv, generator=generator)
        self.v_proj = Linear(d_model, d_kv, generator=generator)
        self.output_proj = Linear(d_model, d_model, generator=generator)
        self.rope = (
            RotaryPositionalEmbedding(config.rope_theta, d_head, config.context_length)
            if config.position == "rope"
            else None
        )
        self.q_norm = RMSNorm(d_head, config.norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(d_head, config.norm_eps) if config.qk_norm else None
        # Zhou et al. 2024 (value residual), equation 8: both shares are learned and start at 1/2.
        mixes_values = config.value_residual and not is_first_layer
        self.value_mix = nn.Parameter(torch.full((2,), 0.5)) if mixes_values else None

    def project(
        self,
        x: Float[Tensor, "... seq d_model"],
        token_positions: Int[Tensor, "... seq"],
        first_values: Float[Tensor, "... g seq k"] | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return queries, keys, values as attended, and the values before mixing."""
        weights = (self.q_proj.weight, self.k_proj.weight, self.v_proj.weight)
        projected = self.kernels.projections(x, weights)
        queries = split_heads(projected[0], self.num_heads)  # (B, H, T, K)
        keys = split_heads(projected[1], self.kv_heads)  # (B, G, T, K)
        values = split_heads(projected[2], self.kv_heads)  # (B, G, T, K)
        if self.q_norm is not None and self.k_norm is not None:
            queries, keys = self.q_norm(queries), self.k_norm(keys)
        if self.rope is not None:
            positions = token_positions.unsqueeze(-2)  # the same for all heads
            queries, keys = self.rope(queries, positions), self.rope(keys, positions)
        mixed = values
        if self.value_mix is not None and first_values is not None:
            mixed = self.value_mix[0] * first_values + self.value_mix[1] * values
        return queries, keys, mixed, values

    def forward(
        self,
        x: Float[Tensor, "... seq d_model"],
        token_positions: Int[Tensor, "... seq"] | None = None,
        *,
        first_values: Float[Tensor, "... g seq k"] | None = None,
        cache: LayerCache | None = None,
    ) -> tuple[Float[Tensor, "... seq d_model"], Float[Tensor, "... g seq k"]]:
        """Return the output and this layer's own values (the first layer's feed later ones).

        Positions default to 0, 1, ...; with a cache they are the slots that are written, and
        all earlier slots are looked at too.
        """
        positions = _default_positions(x) if token_positions is None else token_positions
        queries, keys, mixed, values = self.project(x, positions, first_values)
        mask, is_causal = None, True
        if cache is not None:
            keys, mixed = cache.update(keys, mixed, positions)  # (B, G, S, K)
            mask, is_causal = cache.visible(positions), cache.is_causal
        attended = self.kernels.attention(queries, keys, mixed, mask, is_causal)  # (B, H, T, K)
        return self.output_proj(merge_heads(attended)), values
