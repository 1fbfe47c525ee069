"""Cross-entropy of the output projection that never holds all logits.

A chunk of positions is projected, its loss and the gradients of both factors are computed at
once, and its logits are dropped. Peak memory is chunk x V instead of N x V; backward only scales.
Equal to `soft_cap`, then `token_cross_entropy`, within the dtype's rounding. Three forms, which
the probe chooses from (`lm/machine/probe.py`):

- `unrolled`: small chunks, one after the other in the compiled code; for a CPU's cache.
- `whole`: one chunk of all positions; for a GPU with room for its logits in the product's dtype.
- `loop`: large chunks, one call each of code that is compiled once; for a GPU without that room.

Legend: N positions, C positions a chunk, D d_model, V vocab.
"""

from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lm.fast.chunk_gradient import chunk_gradient, chunk_losses
from lm.fast.loss_loop import loss_loop
from lm.model.functional import soft_cap, widen

DEFAULT_CHUNK_SIZE = 512
"""Positions a chunk: 512 x 10,000 bf16 logits are 10 MB, which fits a CPU's last-level cache."""

LossForm = Literal["unrolled", "whole", "loop"]


def _unrolled(
    hidden: Tensor,
    matrix: Tensor,
    targets: Tensor,
    chunk_size: int,
    softcap: float,
    z_loss: float,
    *,
    is_fusible: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the sums of loss and squares, and both gradients, chunk by chunk."""
    num_positions = hidden.shape[0]
    wide = torch.promote_types(hidden.dtype, torch.float32)
    total = torch.zeros((), dtype=wide, device=hidden.device)
    squares = torch.zeros_like(total)
    hidden_gradients = []
    weight_gradient = torch.zeros_like(matrix, dtype=wide)
    for start in range(0, num_positions, chunk_size):
        part = hidden[start : start + chunk_size]  # (C, D)
        loss, square, gradient = chunk_gradient(
            part @ matrix.T,
            targets[start : start + chunk_size],
            softcap=softcap,
            z_loss=z_loss,
            num_positions=num_positions,
            is_fusible=is_fusible,
        )
        gradient = gradient.to(hidden.dtype)
        total, squares = total + loss, squares + square
        hidden_gradients.append(gradient @ matrix)  # (C, D)
        weight_gradient += gradient.T @ part  # (V, D)
    return total, squares, torch.cat(hidden_gradients), weight_gradient


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Mean loss and mean squared log-partition; the gradient is that of loss + z_loss * squares.

    `ctx` is Any: torch's type lacks `saved_tensors`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        chunk_size: int,
        form: LossForm,
        softcap: float,
        z_loss: float,
    ) -> tuple[Tensor, Tensor]:
        num_positions = hidden.shape[0]
        matrix = weight.to(hidden.dtype)  # (V, D)
        if form == "loop":
            is_compiled = torch.compiler.is_compiling()
            sums, hidden_gradient, weight_gradient = loss_loop(
                hidden, matrix, targets, chunk_size, softcap, z_loss, is_compiled
            )
            total, squares = sums.unbind()
        else:
            size = num_positions if form == "whole" else chunk_size
            total, squares, hidden_gradient, weight_gradient = _unrolled(
                hidden, matrix, targets, size, softcap, z_loss, is_fusible=form == "whole"
            )
        ctx.save_for_backward(hidden_gradient, weight_gradient)
        mean_loss, mean_square = total / num_positions, squares / num_positions
        ctx.mark_non_differentiable(mean_square)
        return mean_loss + z_loss * mean_square, mean_square

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        scale = gradients[0]
        return (hidden_gradient * scale, weight_gradient * scale, *5 * (None,))


def chunked_cross_entropy(
    hidden: Float[Tensor, "... d_model"],
    weight: Float[Tensor, "vocab d_model"],
    targets: Int[Tensor, "..."],
    *,
    softcap: float = 0.0,
    z_loss: float = 0.0,
    chunk_size: int = DEFAULT_CHUNK_SIZE,
    form: LossForm = "unrolled",
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the mean of loss + z_loss * log-partition squared, and that of the squares alone.

    Products run in the dtype of `hidden`, the rest in fp32 at least; the gradient of `weight` is
    summed and returned in fp32. Only the first result carries a gradient. `whole` takes all
    positions at once, whatever `chunk_size` says.
    """
    total, squares = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]  # torch's
        hidden.flatten(0, -2), weight, targets.flatten(), chunk_size, form, softcap, z_loss
    )
    return total, squares


@torch.no_grad()
def chunked_token_losses(
    hidden: Float[Tensor, "... d_model"],
    weight: Float[Tensor, "vocab d_model"],
    targets: Int[Tensor, "..."],
    *,
    softcap: float = 0.0,
    chunk_size: int = DEFAULT_CHUNK_SIZE,
) -> Float[Tensor, "..."]:
    """Return -log p(target) of each position in nats, without a gradient."""
    flat, flat_targets = hidden.flatten(0, -2), targets.flatten()
    losses = [
        chunk_losses(soft_cap(widen(part @ weight.T), softcap), part_targets)[0]
        for part, part_targets in zip(
            torch.split(flat, chunk_size), torch.split(flat_targets, chunk_size), strict=True
        )
    ]
    return torch.cat(losses).view(targets.shape)
