"""Products that share their input, computed as one: queries, keys and values; gate and up.

The input is read once instead of two or three times, and backward adds no gradients of it up.
The matrices keep their names; they are joined in each pass, which compiled code does while it
converts them for the product.
"""

import torch
from torch import Tensor
from torch.nn import functional


def joined_projections(x: Tensor, weights: tuple[Tensor, ...], /) -> tuple[Tensor, ...]:
    """Return x W^T for each matrix, by one product."""
    sizes = [weight.shape[0] for weight in weights]
    return torch.split(functional.linear(x, torch.cat(weights)), sizes, dim=-1)


def joined_swiglu(x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor, /) -> Tensor:
    """Return W2 (silu(W1 x) * W3 x), by two products."""
    gate, up = functional.linear(x, torch.cat((w1, w3))).chunk(2, dim=-1)
    return functional.linear(functional.silu(gate) * up, w2)
