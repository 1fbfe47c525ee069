"""The fast path: torch's fused kernels in place of the faithful ones, and compilation.

Value and gradient are equal to the faithful path within the dtype's rounding
(`tests/lm/test_fast.py`).
Legend: H query heads, G key-value heads, T queries, S keys, K d_head.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from lm.blocked_attention import blocked_attention
from lm.config import Precision
from lm.functional import rms_normalize, rotate_pairs
from lm.kernels import FAITHFUL, Kernels
from lm.loss import Loss, TrainingLoss
from lm.model import TransformerLM
from lm.probe import Plan

logger = logging.getLogger(__name__)

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
    attention = {"sdpa": _attention, "blocked": _blocked_attention, "math": FAITHFUL.attention}
    use_kernels(model, replace(kernels, attention=attention[plan.attention]))


def build_loss(
    model: TransformerLM, plan: Plan, *, precision: Precision, z_loss: float = 0.0
) -> TrainingLoss:
    """Return the training objective as a module, not compiled (`compile_loss` does that)."""
    use_plan(model, plan)
    return TrainingLoss(model, precision=precision, z_loss=z_loss, fast=plan.fast)


def compile_loss(loss: nn.Module, plan: Plan) -> LossFunction:
    """Return `loss` compiled if the plan says so; the first call then takes a minute or two.

    Where the compiler fails, the loss runs eagerly from then on, and one warning is logged.
    """
    eager = cast("LossFunction", loss)
    return _CompiledLoss(loss) if plan.compile else eager


class _CompiledLoss:
    """A compiled loss that falls back to the eager one."""

    def __init__(self, loss: nn.Module) -> None:
        # Here, because the compiler takes seconds to import, and most programs never compile.
        from torch._dynamo.exc import TorchDynamoException

        self.compiler_error: type[Exception] = TorchDynamoException
        self.eager = cast("LossFunction", loss)
        self.compiled = cast("LossFunction", torch.compile(loss, dynamic=False))
        self.has_failed = False

    def __call__(self, inputs: Tensor, targets: Tensor, /) -> Loss:
        if not self.has_failed:
            try:
                return self.compiled(inputs, targets)
            except self.compiler_error as error:
                self.has_failed = True
                reason = str(error).strip().splitlines()[0]
                logger.warning("torch.compile failed, running eagerly, slower: %s", reason)
        return self.eager(inputs, targets)
