"""Copies of a model's matrices in the layout that a few rows multiply fastest on a CPU.

Generation multiplies one row for each sequence, which takes as long as reading the matrix.
Measured against `x @ W.T` in fp32: one row with a transposed copy 1.3 times as fast, eight rows
with oneDNN's own layout 1.8 times. While in use, the copies double the memory of the matrices.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lm.model.kernels import Kernels, LinearKernel
from lm.model.layers import Linear
from lm.model.transformer import TransformerLM

MIN_TOKENS_TO_PACK = 16
"""New tokens from which packing is worth it: it costs about as much time as five tokens save."""

Product = Callable[[Tensor], Tensor]


def pack(weight: Float[Tensor, "d_out d_in"], num_rows: int) -> Product:
    """Return x -> x W^T with a copy of the matrix laid out for about `num_rows` rows."""
    operators = torch.ops.mkldnn
    has_packing = hasattr(operators, "_reorder_linear_weight")  # where torch has oneDNN
    if num_rows > 1 and has_packing and torch.backends.mkldnn.enabled:
        packed = operators._reorder_linear_weight(weight.detach(), num_rows)
        return lambda x: operators._linear_pointwise(x, packed, None, "none", [], "")
    transposed = weight.detach().T.contiguous()
    return lambda x: x @ transposed


def can_pack(model: nn.Module) -> bool:
    """Tell whether packing is known to help: fp32 weights on a CPU."""
    return all(p.device.type == "cpu" and p.dtype == torch.float32 for p in model.parameters())


def packed_kernels(model: TransformerLM, kernels: Kernels, num_rows: int) -> Kernels:
    """Return `kernels` with products by packed copies of the model's present matrices.

    The copies live as long as the result; weights that change later are not seen.
    """
    matrices = [module.weight for module in model.modules() if isinstance(module, Linear)]
    products = {id(matrix): pack(matrix, num_rows) for matrix in (*matrices, model.output_weight)}

    def linear(x: Tensor, weight: Tensor, /) -> Tensor:
        product = products.get(id(weight))
        return kernels.linear(x, weight) if product is None else product(x)

    packed: LinearKernel = linear

    def projections(x: Tensor, weights: tuple[Tensor, ...], /) -> tuple[Tensor, ...]:
        return tuple(packed(x, weight) for weight in weights)

    def swiglu(x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor, /) -> Tensor:
        return packed(functional.silu(packed(x, w1)) * packed(x, w3), w2)

    return replace(kernels, linear=packed, projections=projections, swiglu=swiglu)
