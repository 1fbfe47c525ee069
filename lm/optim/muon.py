"""Muon for the blocks' matrices, AdamW for everything else, in one optimizer.

Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): the Nesterov momentum of a matrix is
replaced by its nearest orthogonal matrix, found by five Newton-Schulz steps. Scale convention:
the update is multiplied by sqrt(max(1, rows / columns)), which is torch.optim.Muon's
`adjust_lr_fn="original"`; rates of about 0.02 belong to it.
"""

from collections.abc import Callable
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from lm.optim.adamw import ParameterGroup, ParameterState, adamw_group_update

NEWTON_SCHULZ_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Quintic whose slope at 0 is as steep as convergence allows (Jordan et al. 2024)."""

NEWTON_SCHULZ_STEPS = 5
"""Steps that bring the singular values near 1 (Jordan et al. 2024)."""

SMALLEST_NORM = 1e-7
"""A zero matrix is divided by this, so that it stays zero."""


def orthogonalize(
    matrix: Float[Tensor, "rows columns"], *, dtype: torch.dtype = torch.bfloat16
) -> Float[Tensor, "rows columns"]:
    """Return about U V^T of the matrix's singular value decomposition, by Newton-Schulz steps.

    The singular values end between about 0.7 and 1.2. Products run in `dtype`; bf16 is enough
    for this iteration.
    """
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
    is_tall = matrix.shape[-2] > matrix.shape[-1]
    x = matrix.to(dtype)
    x = x.mT if is_tall else x  # the smaller side squared is the cheaper product
    x = x / x.norm().clamp_min(SMALLEST_NORM)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        polynomial = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.addmm(x, polynomial, x, beta=a)  # a x + (b G + c G^2) x, with G = x x^T
    orthogonal: Tensor = x.mT if is_tall else x
    return orthogonal


def muon_update(parameter: Tensor, state: ParameterState, group: ParameterGroup) -> None:
    """Apply one step of Muon to one matrix."""
    if not state:
        state["momentum_buffer"] = torch.zeros_like(parameter)
    gradient, buffer = cast("Tensor", parameter.grad), state["momentum_buffer"]
    momentum = group["momentum"]
    buffer.lerp_(gradient, 1 - momentum)
    nesterov = gradient.lerp(buffer, momentum)
    update = orthogonalize(nesterov).to(parameter.dtype)
    scale = max(1.0, parameter.shape[-2] / parameter.shape[-1]) ** 0.5
    parameter.mul_(1 - group["lr"] * group["weight_decay"])
    parameter.add_(update, alpha=-group["lr"] * scale)


class Muon(torch.optim.Optimizer):
    """Muon for groups with `kind="muon"`, AdamW for groups with `kind="adamw"`."""

    def __init__(self, groups: list[ParameterGroup], *, fused: bool = False) -> None:
        """Take complete groups: `params kind lr weight_decay`, and `momentum` or `betas eps`."""
        self.fused = fused
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch overloads it on the closure
        """Update every parameter that has a gradient; return the closure's loss, if any."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["kind"] == "adamw":
                adamw_group_update(self, group, fused=self.fused)
                continue
            for parameter in group["params"]:
                if parameter.grad is not None:
                    muon_update(parameter, self.state[parameter], group)
        return loss
