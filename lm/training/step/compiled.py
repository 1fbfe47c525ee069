"""The training objective as the plan wants it: on the fast path or not, compiled or not."""

import logging
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from lm.config import Precision
from lm.fast.chunked_loss import LossForm
from lm.fast.switch import use_plan
from lm.loss import Loss, TrainingLoss
from lm.machine.probe import Plan
from lm.model.transformer import TransformerLM

logger = logging.getLogger(__name__)

LossFunction = Callable[[Tensor, Tensor], Loss]


def build_loss(
    model: TransformerLM, plan: Plan, *, precision: Precision, z_loss: float = 0.0
) -> TrainingLoss:
    """Return the training objective as a module, not compiled (`compile_loss` does that)."""
    use_plan(model, plan)
    return TrainingLoss(
        model,
        precision=precision,
        z_loss=z_loss,
        fast=plan.fast,
        form=cast("LossForm", plan.loss_form),
        chunk_size=plan.loss_chunk,
    )


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
