"""Pure functions of the faithful model: softmax, cross-entropy, activations, attention.

Written from primitives; `lm/model/kernels.py` names those that the fast path replaces.
Legend: B batch, T sequence, H heads, K d_head, V vocab.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def widen(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return x in fp32, or as it is where it is wider."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def softmax(logits: Float[Tensor, "..."], dim: int = -1) -> Float[Tensor, "..."]:
    """Return exp(logits) normalised along `dim`; stable: the maximum is subtracted first."""
    shifted = logits - logits.amax(dim=dim, keepdim=True)
    exponentials = shifted.exp()
    return exponentials / exponentials.sum(dim=dim, keepdim=True)


def log_partition(logits: Float[Tensor, "... vocab"]) -> Float[Tensor, "..."]:
    """Return log(sum(exp(logits))) over the last dimension, stable for any finite logits."""
    largest = logits.amax(dim=-1, keepdim=True)
    return (logits - largest).exp().sum(dim=-1).log() + largest.squeeze(-1)


def token_cross_entropy(
    logits: Float[Tensor, "... vocab"], targets: Int[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """Return -log softmax(logits)[target] for each position, in nats.

    The subtraction stays in log space, so that logits of any size give a finite result.
    """
    at_target = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return log_partition(logits) - at_target


def cross_entropy(
    logits: Float[Tensor, "... vocab"], targets: Int[Tensor, "..."]
) -> Float[Tensor, ""]:
    """Return the mean of `token_cross_entropy` over all positions."""
    return token_cross_entropy(logits, targets).mean()


def silu(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return x * sigmoid(x) (Elfwing et al. 2017)."""
    return x * torch.sigmoid(x)


def squared_relu(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return max(x, 0) squared (So et al. 2021, Primer)."""
    return x.clamp_min(0).square()


def soft_cap(logits: Float[Tensor, "..."], cap: float) -> Float[Tensor, "..."]:
    """Return cap * tanh(logits / cap) (Gemma 2, section 2); a cap of 0 changes nothing."""
    return cap * torch.tanh(logits / cap) if cap else logits


def rms_normalize(
    x: Float[Tensor, "... d"], weight: Float[Tensor, " d"], eps: float
) -> Float[Tensor, "... d"]:
    """Return x / RMS(x) * weight (Zhang and Sennrich 2019), at least fp32 inside, in x's dtype."""
    wide = widen(x)
    scale = torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + eps)
    return (wide * scale * weight).to(x.dtype)


def rotate_pairs(
    x: Float[Tensor, "... seq d_head"],
    cos: Float[Tensor, "... seq pairs"],
    sin: Float[Tensor, "... seq pairs"],
) -> Float[Tensor, "... seq d_head"]:
    """Rotate each pair (x[2i], x[2i+1]) by its angle (Su et al. 2021, equation 34)."""
    even, odd = x[..., 0::2], x[..., 1::2]  # (..., T, K/2)
    rotated = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return rotated.flatten(-2).to(x.dtype)  # (..., T, K)


def scaled_dot_product_attention(
    queries: Float[Tensor, "... queries d_head"],
    keys: Float[Tensor, "... keys d_head"],
    values: Float[Tensor, "... keys d_value"],
    mask: Bool[Tensor, "... queries keys"] | None = None,
) -> Float[Tensor, "... queries d_value"]:
    """Return softmax(Q K^T / sqrt(d_head)) V (Vaswani et al. 2017, equation 1).

    `mask` is True where a query may look; any leading dimensions that broadcast. A query that
    may look nowhere gives NaN.
    """
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])  # (..., Tq, Tk)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return softmax(scores) @ values
