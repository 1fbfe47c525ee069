"""Gradient clipping by the global norm (Pascanu et al. 2013, algorithm 1)."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

_EPS = 1e-6
"""Added to the norm, so that nothing is divided by zero; the course and torch add the same."""


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Float[Tensor, ""]:
    """Return the L2 norm over the gradients of all parameters together, in fp32 at least."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros(())
    wide = torch.promote_types(gradients[0].dtype, torch.float32)
    if gradients[0].is_cuda and wide == gradients[0].dtype:
        return torch.nn.utils.get_total_norm(gradients, foreach=True)  # in a few launches
    norms = [torch.linalg.vector_norm(gradient, dtype=wide) for gradient in gradients]
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return total


def clip_factor(norm: Float[Tensor, ""], max_l2_norm: float) -> Float[Tensor, ""]:
    """Return what gradients of this norm are multiplied by, without asking the host: 1 or less."""
    return torch.where(norm > max_l2_norm, max_l2_norm / (norm + _EPS), 1.0)


@torch.no_grad()
def clip_gradients(
    parameters: Iterable[nn.Parameter], max_l2_norm: float, *, norm: Tensor | None = None
) -> Float[Tensor, ""]:
    """Scale all gradients in place so that their global norm is at most `max_l2_norm`.

    A `max_l2_norm` of 0 changes nothing. Pass `norm` where it is known already.

    Returns:
        The norm before clipping.
    """
    parameters = list(parameters)
    total = gradient_norm(parameters) if norm is None else norm
    if max_l2_norm <= 0:
        return total
    gradients = [p.grad for p in parameters if p.grad is not None]
    if total.is_cuda:  # to look at the norm would stall the device
        torch._foreach_mul_(gradients, clip_factor(total, max_l2_norm))
    elif total > max_l2_norm:
        factor = max_l2_norm / (total + _EPS)
        for gradient in gradients:
            gradient.mul_(factor)
    return total
