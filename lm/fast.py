"""The fast path: torch's fused kernels in place of the faithful ones, and compilation.

Value and gradient are equal to the faithful path within the dtype's rounding
(`tests/lm/test_fast.py`).
Legend: H query heads, G key-value heads, T queries, S keys, K d_head.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from lm.config import Precision
from lm.functional import rms_normalize, rotate_pairs
from lm.kernels import FAITHFUL, Kernels
from lm.loss import Loss, TrainingLoss
from lm.model import TransformerLM
from lm.probe import Plan

LossFunction = Callable[[Tensor, Tensor], Loss]


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


FAST = Kernels(
    linear=lambda x, weight, /: functional.linear(x, weight),
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
    """Let the model compute as the plan says; weights and outputs stay what they are."""
    kernels = FAST if plan.fast else FAITHFUL
    if plan.attention == "math":
        kernels = replace(kernels, attention=FAITHFUL.attention)
    use_kernels(model, kernels)


def build_loss(
    model: TransformerLM, plan: Plan, *, precision: Precision, z_loss: float = 0.0
) -> TrainingLoss:
    """Return the training objective as a module, not compiled (`compile_loss` does that)."""
    use_plan(model, plan)
    return TrainingLoss(model, precision=precision, z_loss=z_loss, fast=plan.fast)


def compile_loss(loss: nn.Module, plan: Plan) -> LossFunction:
    """Return `loss` compiled if the plan says so; the first call then takes seconds to minutes."""
    if not plan.compile:
        return cast("LossFunction", loss)
    return cast("LossFunction", torch.compile(loss, dynamic=False))
