"""The training objective as a module, and the loss of each token for evaluation.

Legend: B batch, T sequence, D d_model, V vocab.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lm.config import Precision
from lm.fast.chunked_loss import (
    DEFAULT_CHUNK_SIZE,
    LossForm,
    chunked_cross_entropy,
    chunked_token_losses,
)
from lm.machine.precision import autocast
from lm.model.functional import log_partition, token_cross_entropy, widen
from lm.model.transformer import TransformerLM

UNCOMPILED_CHUNK = 8192
"""Most positions whose logits an evaluation holds: it is not compiled, so it holds them in fp32."""


class Loss(NamedTuple):
    """What one forward pass gives."""

    total: Float[Tensor, ""]
    """Objective to differentiate: cross-entropy plus the z-loss, in nats a token."""
    cross_entropy: Float[Tensor, ""]
    """Cross-entropy alone, detached."""


class TrainingLoss(nn.Module):
    """Mean next-token loss of a model; a module, so that it can be compiled and wrapped whole."""

    def __init__(
        self,
        model: TransformerLM,
        *,
        precision: Precision = "fp32",
        z_loss: float = 0.0,
        fast: bool = False,
        form: LossForm = "unrolled",
        chunk_size: int = DEFAULT_CHUNK_SIZE,
    ) -> None:
        """Take the objective; `form` and `chunk_size` are the fast path's (`chunked_loss.py`)."""
        super().__init__()
        self.model = model
        self.precision: Precision = precision
        self.z_loss = z_loss
        self.fast = fast
        self.form: LossForm = form
        self.chunk_size = chunk_size

    def forward(self, inputs: Int[Tensor, "batch seq"], targets: Int[Tensor, "batch seq"]) -> Loss:
        """Return the mean loss of `targets`, which are `inputs` shifted by one."""
        with autocast(inputs.device, self.precision):
            if self.fast:
                return self._chunked(inputs, targets)
            logits = widen(self.model(inputs))  # (B, T, V)
        cross_entropy = token_cross_entropy(logits, targets).mean()
        total = cross_entropy
        if self.z_loss:
            total = total + self.z_loss * log_partition(logits).square().mean()
        return Loss(total, cross_entropy.detach())

    def _chunked(self, inputs: Tensor, targets: Tensor) -> Loss:
        hidden = _hidden_states(self.model, inputs, self.precision)
        total, squares = chunked_cross_entropy(
            hidden,
            self.model.output_weight,
            targets,
            softcap=self.model.config.logit_softcap,
            z_loss=self.z_loss,
            chunk_size=self.chunk_size,
            form=self.form,
        )
        return Loss(total, total.detach() - self.z_loss * squares)


def _hidden_states(
    model: TransformerLM, inputs: Int[Tensor, "batch seq"], precision: Precision
) -> Float[Tensor, "batch seq d_model"]:
    """Return hidden states in the dtype in which the output projection runs."""
    hidden = model.hidden_states(inputs)
    return hidden.bfloat16() if precision == "bf16" else hidden


@torch.no_grad()
def token_losses(
    model: TransformerLM,
    inputs: Int[Tensor, "batch seq"],
    targets: Int[Tensor, "batch seq"],
    *,
    precision: Precision = "fp32",
    fast: bool = True,
    chunk_size: int = DEFAULT_CHUNK_SIZE,
) -> Float[Tensor, "batch seq"]:
    """Return -log p(target) of each position in nats, fp32; `fast` never holds all logits."""
    with autocast(inputs.device, precision):
        if not fast:
            return token_cross_entropy(widen(model(inputs)), targets)
        hidden = _hidden_states(model, inputs, precision)
        weight = model.output_weight.to(hidden.dtype)
        return chunked_token_losses(
            hidden,
            weight,
            targets,
            softcap=model.config.logit_softcap,
            chunk_size=chunk_size,
        )
