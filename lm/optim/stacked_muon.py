"""Muon for all matrices of a shape at once, without the host: a few launches for a GPU.

Equal to `lm/optim/muon.py` within the rounding of its bf16 products. A step may be skipped by a
value on the device; then weights and momentum stay as they are, whatever the gradients hold.
"""

from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lm.optim.adamw import ParameterGroup, ParameterState
from lm.optim.muon import NEWTON_SCHULZ_COEFFICIENTS, NEWTON_SCHULZ_STEPS, SMALLEST_NORM


def orthogonalize_stack(
    matrices: Float[Tensor, "n rows columns"], *, dtype: torch.dtype = torch.bfloat16
) -> Float[Tensor, "n rows columns"]:
    """Return `orthogonalize` of each matrix, by batched products."""
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.to(dtype)
    x = x.mT if is_tall else x
    norms = torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True)
    x = x / norms.clamp_min(SMALLEST_NORM)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    orthogonal: Tensor = x.mT if is_tall else x
    return orthogonal


def stacked_muon_update(
    parameters: list[nn.Parameter],
    states: list[ParameterState],
    group: ParameterGroup,
    *,
    skip: Bool[Tensor, ""],
    factor: Float[Tensor, ""],
    rate: float | Tensor,
) -> None:
    """Apply one step of Muon, with gradients scaled by `factor`, unless `skip` is true."""
    members: dict[torch.Size, list[tuple[nn.Parameter, ParameterState]]] = {}
    for parameter, state in zip(parameters, states, strict=True):
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        members.setdefault(parameter.shape, []).append((parameter, state))
    for shape, pairs in members.items():
        weights: list[Tensor] = [parameter for parameter, _ in pairs]
        buffers = [state["momentum_buffer"] for _, state in pairs]
        updates = _directions(weights, buffers, group["momentum"], skip=skip, factor=factor)
        scale = max(1.0, shape[-2] / shape[-1]) ** 0.5
        # A skipped step multiplies by one and adds zero.
        kept = torch.where(skip, 1.0, 1 - rate * group["weight_decay"])
        moved = torch.where(skip, 0.0, -rate * scale)
        torch._foreach_mul_(weights, kept)
        torch._foreach_add_(weights, list[Tensor]((updates * moved).unbind()))


def _directions(
    weights: list[Tensor],
    buffers: list[Tensor],
    momentum: float,
    *,
    skip: Bool[Tensor, ""],
    factor: Float[Tensor, ""],
) -> Float[Tensor, "n rows columns"]:
    """Move the momenta and return the orthogonalized directions of the weights."""
    gradients = torch.stack([cast("Tensor", weight.grad) for weight in weights])
    # Where the step is skipped the gradients may not be finite: zeros stand for them.
    gradients = torch.where(skip, 0.0, gradients * factor)
    torch._foreach_mul_(buffers, torch.where(skip, 1.0, momentum))
    torch._foreach_add_(buffers, list[Tensor]((gradients * (1 - momentum)).unbind()))
    nesterov = gradients.lerp(torch.stack(buffers), momentum)
    return orthogonalize_stack(nesterov).to(weights[0].dtype)
