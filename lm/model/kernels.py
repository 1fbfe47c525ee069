"""The table of computations that the fast path may replace, and its faithful entries.

A model computes through one table, `FAITHFUL` or `lm.fast.switch.FAST`. Each fast entry is proven
equal to its faithful one in `tests/lm/fast/test_switch.py`, so the switch changes only
speed and memory.
Legend: T queries, S keys, H query heads, G key-value heads, K d_head.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lm.model.functional import rms_normalize, rotate_pairs, scaled_dot_product_attention, silu

LinearKernel = Callable[
    [Float[Tensor, "... d_in"], Float[Tensor, "d_out d_in"]], Float[Tensor, "... d_out"]
]
"""(x, weight) -> x W^T."""

ProjectionsKernel = Callable[
    [Float[Tensor, "... d_in"], tuple[Tensor, ...]], tuple[Float[Tensor, "..."], ...]
]
"""(x, weights) -> x W^T for each of them."""

EmbedKernel = Callable[[Int[Tensor, "..."], Float[Tensor, "vocab d"]], Float[Tensor, "... d"]]
"""(token_ids, weight) -> one row of the matrix for each id."""

RmsNormKernel = Callable[
    [Float[Tensor, "... d"], Float[Tensor, " d"], float], Float[Tensor, "... d"]
]
"""(x, weight, eps) -> x / RMS(x) * weight."""

RotateKernel = Callable[
    [
        Float[Tensor, "... seq d_head"],
        Float[Tensor, "... seq pairs"],
        Float[Tensor, "... seq pairs"],
    ],
    Float[Tensor, "... seq d_head"],
]
"""(x, cos, sin) -> x with each pair of neighbours rotated by its angle."""

SwigluKernel = Callable[
    [
        Float[Tensor, "... d"],
        Float[Tensor, "d_ff d"],
        Float[Tensor, "d d_ff"],
        Float[Tensor, "d_ff d"],
    ],
    Float[Tensor, "... d"],
]
"""(x, w1, w2, w3) -> W2 (silu(W1 x) * W3 x)."""

AttentionKernel = Callable[
    [
        Float[Tensor, "... h t k"],
        Float[Tensor, "... g s k"],
        Float[Tensor, "... g s k"],
        Bool[Tensor, "... t s"] | None,
        bool,
    ],
    Float[Tensor, "... h t k"],
]
"""(queries, keys, values, mask, is_causal) -> output of attention with grouped key-value heads.

A query looks where `mask` is True. With `is_causal` and no mask it looks at the keys up to its
own; with neither at all keys."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernels:
    """The computations of one path."""

    linear: LinearKernel
    projections: ProjectionsKernel
    embed: EmbedKernel
    rms_normalize: RmsNormKernel
    rotate_pairs: RotateKernel
    swiglu: SwigluKernel
    attention: AttentionKernel


def _linear(x: Tensor, weight: Tensor, /) -> Tensor:
    return x @ weight.T


def _projections(x: Tensor, weights: tuple[Tensor, ...], /) -> tuple[Tensor, ...]:
    return tuple(x @ weight.T for weight in weights)


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
    projections=_projections,
    embed=_embed,
    rms_normalize=rms_normalize,
    rotate_pairs=rotate_pairs,
    swiglu=_swiglu,
    attention=_attention,
)
"""The computations as the course writes them, from primitives."""
