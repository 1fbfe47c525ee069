"""Layers of the faithful model: Linear, Embedding, RMSNorm, feed-forwards, rotary positions.

Each layer computes with the functions of its `kernels` (`lm/model/kernels.py`), which are the
faithful ones until the fast path replaces them.
Legend: D d_model, F inner width of the feed-forward, K d_head, T sequence.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lm.config import ModelConfig
from lm.model.functional import silu, squared_relu
from lm.model.kernels import FAITHFUL


def _truncated_normal(
    shape: tuple[int, ...], std: float, generator: torch.Generator | None
) -> nn.Parameter:
    """Return a parameter drawn from N(0, std^2), cut at 3 sigma (CS336 A1, section 3.4.1)."""
    weight = torch.empty(shape)
    nn.init.trunc_normal_(weight, 0.0, std, -3 * std, 3 * std, generator=generator)
    return nn.Parameter(weight)


class Linear(nn.Module):
    """Multiply by a matrix, without bias."""

    def __init__(self, d_in: int, d_out: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.kernels = FAITHFUL
        # Variance 2 / (d_in + d_out): Glorot and Bengio 2010, equation 16.
        self.weight = _truncated_normal((d_out, d_in), math.sqrt(2 / (d_in + d_out)), generator)

    def forward(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_out"]:
        """Return x W^T, on any leading dimensions."""
        return self.kernels.linear(x, self.weight)


class Embedding(nn.Module):
    """Look up one row of a matrix for each token."""

    def __init__(
        self,
        num_embeddings: int,
        d_model: int,
        *,
        std: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.kernels = FAITHFUL
        self.weight = _truncated_normal((num_embeddings, d_model), std, generator)

    def forward(self, token_ids: Int[Tensor, "..."]) -> Float[Tensor, "... d_model"]:
        """Return the row of each id; ids must lie in [0, num_embeddings)."""
        return self.kernels.embed(token_ids, self.weight)


class RMSNorm(nn.Module):
    """Divide by the root mean square and multiply by a learned gain, in fp32 inside."""

    def __init__(self, d: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.kernels = FAITHFUL
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        """Return the normalised x in the dtype of x."""
        return self.kernels.rms_normalize(x, self.weight, self.eps)


class SwiGLU(nn.Module):
    """Feed-forward w2(silu(w1 x) * w3 x) (Shazeer 2020)."""

    def __init__(
        self, d_model: int, d_ff: int, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.kernels = FAITHFUL
        self.w1 = Linear(d_model, d_ff, generator=generator)
        self.w2 = Linear(d_ff, d_model, generator=generator)
        self.w3 = Linear(d_model, d_ff, generator=generator)

    def forward(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """Return the feed-forward's output, on any leading dimensions."""
        return self.kernels.swiglu(x, self.w1.weight, self.w2.weight, self.w3.weight)


class FeedForward(nn.Module):
    """Feed-forward w2(activation(w1 x)) with two matrices."""

    def __init__(
        self,
        d_model: int,
        d_ff: int,
        activation: Callable[[Tensor], Tensor],
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.w1 = Linear(d_model, d_ff, generator=generator)
        self.w2 = Linear(d_ff, d_model, generator=generator)
        self.activation = activation

    def forward(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """Return the feed-forward's output, on any leading dimensions."""
        output: Tensor = self.w2(self.activation(self.w1(x)))  # (..., F) -> (..., D)
        return output


def build_feed_forward(
    config: ModelConfig, *, generator: torch.Generator | None = None
) -> SwiGLU | FeedForward:
    """Return the feed-forward that `config.ffn` names, parameter-matched to SwiGLU."""
    if config.ffn == "swiglu":
        return SwiGLU(config.d_model, config.d_ff, generator=generator)
    activation = silu if config.ffn == "silu" else squared_relu
    return FeedForward(config.d_model, config.d_ff_inner, activation, generator=generator)


class RotaryPositionalEmbedding(nn.Module):
    """Rotate pairs of a head's features by angles that grow with the position (RoFormer)."""

    cos: Tensor
    sin: Tensor

    def __init__(self, theta: float, d_head: int, max_positions: int) -> None:
        super().__init__()
        self.kernels = FAITHFUL
        if d_head % 2:
            raise ValueError(f"d_head ({d_head}) must be even: pairs of features are rotated")
        # In float64: at position 1,000 and more, angles in float32 are wrong in the fifth digit.
        exponents = torch.arange(0, d_head, 2, dtype=torch.float64) / d_head
        positions = torch.arange(max_positions, dtype=torch.float64)
        angles = torch.outer(positions, theta**-exponents)  # (positions, K/2)
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer("sin", angles.sin().float(), persistent=False)

    def forward(
        self, x: Float[Tensor, "... seq d_head"], token_positions: Int[Tensor, "... seq"]
    ) -> Float[Tensor, "... seq d_head"]:
        """Return x with each pair rotated by its position; positions broadcast against x."""
        return self.kernels.rotate_pairs(x, self.cos[token_positions], self.sin[token_positions])
