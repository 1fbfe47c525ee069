"""Loss and gradient of one chunk of positions, from its logits.

Legend: C positions a chunk, V vocab.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lm.model.functional import soft_cap, widen


def chunk_losses(
    logits: Float[Tensor, "chunk vocab"], targets: Int[Tensor, " chunk"]
) -> tuple[Float[Tensor, " chunk"], Float[Tensor, " chunk"]]:
    """Return -log p(target) and the log-partition of each position."""
    partition = torch.logsumexp(logits, dim=-1)  # (C,)
    return partition - logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1), partition


def chunk_gradient(
    raw: Float[Tensor, "chunk vocab"],
    targets: Int[Tensor, " chunk"],
    *,
    softcap: float,
    z_loss: float,
    num_positions: int,
    is_fusible: bool = False,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, "chunk vocab"]]:
    """Return the sums of loss and squared log-partition, and d(mean loss) / d(raw logits).

    `is_fusible` subtracts the target's one by comparing ids, in the same pass as the rest. A
    scatter is a pass of its own over fp32 gradients, in an order that a GPU leaves open; on a CPU
    it is the faster one. Both give the same bits.
    """
    capped = soft_cap(widen(raw), softcap)  # (C, V)
    losses, partition = chunk_losses(capped, targets)
    gradient = (capped - partition.unsqueeze(-1)).exp()  # softmax
    if z_loss:
        gradient = gradient * (1 + 2 * z_loss * partition.unsqueeze(-1))
    if is_fusible:
        ids = torch.arange(raw.shape[-1], device=raw.device)  # (V,)
        gradient = torch.where(ids == targets.unsqueeze(-1), gradient - 1.0, gradient)
    else:
        ones = gradient.new_full((), -1.0).expand(targets.shape[0], 1)
        gradient = gradient.scatter_add(-1, targets.unsqueeze(-1), ones)
    if softcap:
        gradient = gradient * (1 - (capped / softcap).square())
    return losses.sum(), partition.square().sum(), gradient / num_positions
