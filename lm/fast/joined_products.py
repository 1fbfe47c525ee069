"""Products that share their input, computed as one: queries, keys and values; gate and up.

The input is read once instead of two or three times, and backward adds no gradients of it up.
The matrices keep their names; they are joined in each pass, which compiled code does while it
converts them for the product.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from lm.model.attention import MultiHeadSelfAttention
from lm.model.kernels import Kernels
from lm.model.layers import SwiGLU
from lm.model.transformer import TransformerLM


def joined_projections(x: Tensor, weights: tuple[Tensor, ...], /) -> tuple[Tensor, ...]:
    """Return x W^T for each matrix, by one product."""
    sizes = [weight.shape[0] for weight in weights]
    return torch.split(functional.linear(x, torch.cat(weights)), sizes, dim=-1)


def joined_swiglu(x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor, /) -> Tensor:
    """Return W2 (silu(W1 x) * W3 x), by two products."""
    gate, up = functional.linear(x, torch.cat((w1, w3))).chunk(2, dim=-1)
    return functional.linear(functional.silu(gate) * up, w2)


def with_joined_copies(model: TransformerLM, kernels: Kernels) -> Kernels:
    """Return `kernels` with joined products of copies of the present matrices, for generation.

    The copies live as long as the result; weights that change later are not seen.
    """
    joined: dict[int, Tensor] = {}
    for module in model.modules():
        if isinstance(module, MultiHeadSelfAttention):
            projections = (module.q_proj, module.k_proj, module.v_proj)
            joined[id(module.q_proj.weight)] = torch.cat([p.weight for p in projections])
        elif isinstance(module, SwiGLU):
            joined[id(module.w1.weight)] = torch.cat([module.w1.weight, module.w3.weight])

    def projections_of(x: Tensor, weights: tuple[Tensor, ...], /) -> tuple[Tensor, ...]:
        sizes = [weight.shape[0] for weight in weights]
        return torch.split(functional.linear(x, joined[id(weights[0])]), sizes, dim=-1)

    def swiglu(x: Tensor, w1: Tensor, w2: Tensor, _w3: Tensor, /) -> Tensor:
        gate, up = functional.linear(x, joined[id(w1)]).chunk(2, dim=-1)
        return functional.linear(functional.silu(gate) * up, w2)

    return replace(kernels, projections=projections_of, swiglu=swiglu)
