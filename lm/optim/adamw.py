"""AdamW from its paper, one parameter at a time or fused.

State of each parameter: `step` (fp32 scalar), `exp_avg`, `exp_avg_sq`, as torch.optim.AdamW
names them, for the faithful and the fused update alike, so that one loads the other's state.
"""

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw as torch_adamw

ParameterGroup = dict[str, Any]
"""A group of torch's optimizers: parameters, and settings of several types."""

ParameterState = dict[str, Tensor]
"""What an optimizer keeps for one parameter."""


def _ensure_moments(state: ParameterState, parameter: Tensor) -> None:
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32)
        state["exp_avg"] = torch.zeros_like(parameter)
        state["exp_avg_sq"] = torch.zeros_like(parameter)


def adamw_update(parameter: Tensor, state: ParameterState, group: ParameterGroup) -> None:
    """Apply one step of AdamW (Loshchilov and Hutter 2019, algorithm 2) to one parameter."""
    gradient = cast("Tensor", parameter.grad)
    _ensure_moments(state, parameter)
    beta1, beta2 = group["betas"]
    state["step"] += 1
    step = float(state["step"])
    mean, square = state["exp_avg"], state["exp_avg_sq"]
    parameter.mul_(1 - group["lr"] * group["weight_decay"])
    mean.mul_(beta1).add_(gradient, alpha=1 - beta1)
    square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    root = (square / (1 - beta2**step)).sqrt_().add_(group["eps"])
    parameter.addcdiv_(mean, root, value=-group["lr"] / (1 - beta1**step))


def fused_adamw_update(
    parameters: list[nn.Parameter],
    states: list[ParameterState],
    group: ParameterGroup,
    *,
    skip: Tensor | None = None,
    factor: Tensor | None = None,
    rate: float | Tensor | None = None,
) -> None:
    """Apply the same step to many parameters at once, reading and writing each value once.

    Args:
        parameters: All have a gradient.
        states: One per parameter.
        group: Settings of the step.
        skip: On the device: whether nothing is to be changed.
        factor: On the device: what the gradients are multiplied by.
        rate: Learning rate, instead of the group's.
    """
    for parameter, state in zip(parameters, states, strict=True):
        _ensure_moments(state, parameter)
        if parameter.is_cuda and not state["step"].is_cuda:
            state["step"] = state["step"].to(parameter.device)  # CUDA's fused kernel needs it there
    torch_adamw(
        list[Tensor](parameters),
        [cast("Tensor", p.grad) for p in parameters],
        [state["exp_avg"] for state in states],
        [state["exp_avg_sq"] for state in states],
        [],
        [state["step"] for state in states],
        fused=True,
        amsgrad=False,
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        lr=group["lr"] if rate is None else rate,
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=False,
        # The kernel divides by the one, and leaves everything as it is where the other is 1.
        grad_scale=None if factor is None else factor.float().reciprocal(),
        found_inf=None if skip is None else skip.float(),
    )


class AdamW(torch.optim.Optimizer):
    """AdamW over any parameters or parameter groups; equal to torch's within rounding."""

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[ParameterGroup],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        fused: bool = False,
    ) -> None:
        """Take torch's names and defaults; `fused` uses one kernel for all parameters."""
        if lr < 0:
            raise ValueError(f"lr ({lr}) must be at least 0")
        self.fused = fused
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch overloads it on the closure
        """Update every parameter that has a gradient; return the closure's loss, if any."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            adamw_group_update(self, group, fused=self.fused)
        return loss


def adamw_group_update(
    optimizer: torch.optim.Optimizer, group: ParameterGroup, *, fused: bool
) -> None:
    """Apply one AdamW step to the parameters of one group that have a gradient."""
    parameters = [p for p in group["params"] if p.grad is not None]
    states = [optimizer.state[p] for p in parameters]
    if fused and parameters:
        fused_adamw_update(parameters, states, group)
        return
    for parameter, state in zip(parameters, states, strict=True):
        adamw_update(parameter, state, group)
