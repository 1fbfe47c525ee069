"""One update of all weights that never asks the host: for a GPU, and for CUDA graphs.

Clipping and the choice to skip the step are values on the device.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lm.optim.adamw import fused_adamw_update
from lm.optim.stacked_muon import stacked_muon_update

AVERAGE_START = 10
"""Update t of an average keeps at most (1 + t) / (10 + t) (tf.train.ExponentialMovingAverage)."""


@torch.no_grad()
def update_unless(
    optimizer: torch.optim.Optimizer,
    skip: Bool[Tensor, ""],
    *,
    factor: Float[Tensor, ""],
    rates: Sequence[float | Tensor],
) -> None:
    """Take one step with gradients scaled by `factor`, unless `skip` is true.

    `rates` are the learning rates of the optimizer's groups; as tensors they can change between
    replays of a CUDA graph.
    """
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        parameters = [p for p in group["params"] if p.grad is not None]
        states = [optimizer.state[p] for p in parameters]
        if not parameters:
            continue
        if group["kind"] == "muon":
            stacked_muon_update(parameters, states, group, skip=skip, factor=factor, rate=rate)
        else:
            fused_adamw_update(parameters, states, group, skip=skip, factor=factor, rate=rate)


@torch.no_grad()
def move_average(
    averages: list[Tensor],
    weights: list[Tensor],
    skip: Bool[Tensor, ""],
    *,
    num_updates: Tensor,
    max_decay: float,
) -> None:
    """Move averages towards the weights after update `num_updates`, unless `skip` is true."""
    decay = ((1 + num_updates) / (AVERAGE_START + num_updates)).clamp_max(max_decay)
    share = torch.where(skip, 0.0, 1 - decay).to(weights[0].dtype)
    differences = list[Tensor](torch._foreach_sub(weights, averages))
    torch._foreach_mul_(differences, share)
    torch._foreach_add_(averages, differences)
