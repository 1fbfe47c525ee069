"""The table of computations that the fast path may replace, and its faithful entries.

A model computes through one table, `FAITHFUL` or `lm.fast.switch.FAST`. Each fast entry is proven
equal to its faithful one in `tests/lm/fast/test_switch.py`, so the switch changes only
speed and memory.
Legend: T queries, S keys, H query heads, G key-value heads, K d_head.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lm.model.functional import rms_normalize, rotate_pairs, scaled_dot_product_attention, silu


class LinearKernel(Protocol):
    """x W^T."""

    def __call__(
        self, x: Float[Tensor, "... d_in"], weight: Float[Tensor, "d_out d_in"], /
    ) -> Float[Tensor, "... d_out"]:
        """Return the product."""


class EmbedKernel(Protocol):
    """Rows of a matrix."""

    def __call__(
        self, token_ids: Int[Tensor, "..."], weight: Float[Tensor, "vocab d"], /
    ) -> Float[Tensor, "... d"]:
        """Return one row for each id."""


class RmsNormKernel(Protocol):
    """x / RMS(x) * weight."""

    def __call__(
        self, x: Float[Tensor, "... d"], weight: Float[Tensor, " d"], eps: float, /
    ) -> Float[Tensor, "... d"]:
        """Return the normalised x."""


class RotateKernel(Protocol):
    """Rotation of neighbouring pairs."""

    def __call__(
        self,
        x: Float[Tensor, "... seq d_head"],
        cos: Float[Tensor, "... seq pairs"],
        sin: Float[Tensor, "... seq pairs"],
        /,
    ) -> Float[Tensor, "... seq d_head"]:
        """Return the rotated x."""


class SwigluKernel(Protocol):
    """W2 (silu(W1 x) * W3 x)."""

    def __call__(
        self,
        x: Float[Tensor, "... d"],
        w1: Float[Tensor, "d_ff d"],
        w2: Float[Tensor, "d d_ff"],
        w3: Float[Tensor, "d_ff d"],
        /,
    ) -> Float[Tensor, "... d"]:
        """Return the feed-forward's output."""


class AttentionKernel(Protocol):
    """Attention with grouped key-value heads."""

    def __call__(
        self,
        queries: Float[Tensor, "... h t k"],
        keys: Float[Tensor, "... g s k"],
        values: Float[Tensor, "... g s k"],
        mask: Bool[Tensor, "... t s"] | None,
        is_causal: bool,
        /,
    ) -> Float[Tensor, "... h t k"]:
        """Attend where `mask` is True, or, with `is_causal` and no mask, at keys up to oneself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernels:
    """The computations of one path."""

    linear: LinearKernel
    embed: EmbedKernel
    rms_normalize: RmsNormKernel
    rotate_pairs: RotateKernel
    swiglu: SwigluKernel
    attention: AttentionKernel


def _linear(x: Tensor, weight: Tensor, /) -> Tensor:
    return x @ weight.T


def _embed(token_ids: Tensor, weight: Tensor, /) -> Tensor:
    return weight[token_ids]


def _swiglu(x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor, /) -> Tensor:
    return (silu(x @ w1.T) * (x @ w3.T)) @ w2.T


def _attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, is_causal: bool, /
) -> Tensor:
    repeats = queries.shape[-3] // keys.shape[-3]
    if repeats > 1:
        keys = keys.repeat_interleave(repeats, dim=-3)  # (..., H, S, K)
        values = values.repeat_interleave(repeats, dim=-3)
    if is_causal and mask is None:
        shape = (queries.shape[-2], keys.shape[-2])
        mask = torch.ones(shape, dtype=torch.bool, device=queries.device).tril()
    return scaled_dot_product_attention(queries, keys, values, mask)


FAITHFUL = Kernels(
    linear=_linear,
    embed=_embed,
    rms_normalize=rms_normalize,
    rotate_pairs=rotate_pairs,
    swiglu=_swiglu,
    attention=_attention,
)
"""The computations as the course writes them, from primitives."""
