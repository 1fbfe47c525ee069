"""The chunked loss as a loop over code that is compiled once.

To the compiler around it the loop is one operator, so that neither the time to compile nor the
code grows with the number of chunks (64 unrolled chunks took a minute to compile on a GPU).
Legend: C positions a chunk, D d_model, V vocab.
"""

from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lm.fast.chunk_gradient import chunk_gradient


def _add_chunk(
    part: Float[Tensor, "chunk d_model"],
    matrix: Float[Tensor, "vocab d_model"],
    targets: Int[Tensor, " chunk"],
    sums: Float[Tensor, " 2"],
    weight_gradient: Float[Tensor, "vocab d_model"],
    softcap: float,
    z_loss: float,
    num_positions: int,
) -> Float[Tensor, "chunk d_model"]:
    """Add a chunk to the sums (loss, squares) and the matrix's gradient; return its own."""
    loss, square, gradient = chunk_gradient(
        part @ matrix.T,
        targets,
        softcap=softcap,
        z_loss=z_loss,
        num_positions=num_positions,
        is_fusible=True,
    )
    gradient = gradient.to(part.dtype)
    sums += torch.stack((loss, square))
    weight_gradient += gradient.T @ part  # (V, D)
    return gradient @ matrix  # (C, D)


@cache
def _compiled_add_chunk() -> Callable[..., Tensor]:
    compiled: Callable[..., Tensor] = torch.compile(_add_chunk, dynamic=False, fullgraph=True)
    return compiled


@torch.library.custom_op("owt::loss_and_gradients_in_a_loop", mutates_args=())
def loss_loop(
    hidden: Tensor,
    matrix: Tensor,
    targets: Tensor,
    chunk_size: int,
    softcap: float,
    z_loss: float,
    is_compiled: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return sums (loss, squares) and both gradients; to the compiler around it one operator."""
    num_positions = hidden.shape[0]
    wide = torch.promote_types(hidden.dtype, torch.float32)
    sums = torch.zeros(2, dtype=wide, device=hidden.device)
    weight_gradient = torch.zeros_like(matrix, dtype=wide)
    add_chunk = _compiled_add_chunk() if is_compiled else _add_chunk
    hidden_gradient = torch.empty_like(hidden)
    for start in range(0, num_positions, chunk_size):
        stop = min(start + chunk_size, num_positions)
        hidden_gradient[start:stop] = add_chunk(
            hidden[start:stop],
            matrix,
            targets[start:stop],
            sums,
            weight_gradient,
            softcap,
            z_loss,
            num_positions,
        )
    return sums, hidden_gradient, weight_gradient


@loss_loop.register_fake
def _loss_loop_shapes(
    hidden: Tensor,
    matrix: Tensor,
    targets: Tensor,
    chunk_size: int,
    softcap: float,
    z_loss: float,
    is_compiled: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    del targets, chunk_size, softcap, z_loss, is_compiled
    wide = torch.promote_types(hidden.dtype, torch.float32)
    sums = hidden.new_empty(2, dtype=wide)
    return sums, torch.empty_like(hidden), torch.empty_like(matrix, dtype=wide)
