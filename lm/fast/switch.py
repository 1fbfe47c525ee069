"""The switch between the faithful kernels and torch's fused ones.

Value and gradient are equal to the faithful path within the dtype's rounding
(`tests/lm/fast/test_switch.py`).
Legend: H query heads, G key-value heads, T queries, S keys, K d_head.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from lm.fast.blocked_attention import blocked_attention
from lm.fast.joined_products import joined_projections, joined_swiglu
from lm.machine.probe import Plan
from lm.model.functional import rms_normalize, rotate_pairs
from lm.model.kernels import FAITHFUL, Kernels
from lm.model.transformer import TransformerLM


def _swiglu(x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor, /) -> Tensor:
    gate = functional.silu(functional.linear(x, w1))
    return functional.linear(gate * functional.linear(x, w3), w2)


def _attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, is_causal: bool, /
) -> Tensor:
    return functional.scaled_dot_product_attention(
        queries,
        keys,
        values.to(keys.dtype),
        attn_mask=mask,
        is_causal=is_causal and mask is None,
        enable_gqa=queries.shape[-3] != keys.shape[-3],
    )


def _blocked_attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, is_causal: bool, /
) -> Tensor:
    # Eager, as in evaluation and generation, torch's kernel is the faster one.
    is_square = is_causal and mask is None and queries.shape[-2] == keys.shape[-2]
    if not (is_square and torch.compiler.is_compiling()):
        return _attention(queries, keys, values, mask, is_causal)
    return blocked_attention(queries, keys, values.to(keys.dtype))


FAST = Kernels(
    linear=lambda x, weight, /: functional.linear(x, weight),
    projections=lambda x, weights, /: tuple(functional.linear(x, w) for w in weights),
    embed=lambda token_ids, weight, /: functional.embedding(token_ids, weight),
    rms_normalize=rms_normalize,
    rotate_pairs=rotate_pairs,
    swiglu=_swiglu,
    attention=_attention,
)
"""The fused kernels. RMSNorm and RoPE stay: compilation fuses them as they are written."""


def use_kernels(model: nn.Module, kernels: Kernels) -> None:
    """Let every layer of the model compute through `kernels`, from its next call on."""
    for module in model.modules():
        if hasattr(module, "kernels"):
            setattr(module, "kernels", kernels)  # noqa: B010  # mypy takes it for a tensor


def use_plan(model: TransformerLM, plan: Plan) -> None:
    """Let the model compute as the plan says; weights and outputs stay the same."""
    kernels = FAST if plan.fast else FAITHFUL
    attention = {"sdpa": _attention, "blocked": _blocked_attention, "math": FAITHFUL.attention}
    kernels = replace(kernels, attention=attention[plan.attention])
    if plan.fast and plan.products == "joined":
        kernels = replace(kernels, projections=joined_projections, swiglu=joined_swiglu)
    use_kernels(model, kernels)
