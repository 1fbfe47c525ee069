"""The sampled validation of a training run: the same few windows each time, for the curve.

The number to quote comes from `lm/evaluate.py`, which takes every token.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from lm.config import TrainConfig
from lm.data.shards import TokenShards, read_windows
from lm.fast.chunked_loss import DEFAULT_CHUNK_SIZE
from lm.loss import token_losses
from lm.machine.distributed import Processes, sum_tensor
from lm.model.transformer import TransformerLM


def sample_starts(num_tokens: int, context_length: int, num_windows: int) -> NDArray[np.int64]:
    """Choose up to `num_windows` windows, spread evenly over the split, without overlap."""
    available = (num_tokens - 1) // context_length
    chosen = min(num_windows, available)
    return np.arange(chosen, dtype=np.int64) * available // chosen * context_length


@torch.no_grad()
def sampled_loss(
    model: TransformerLM,
    shards: TokenShards,
    config: TrainConfig,
    *,
    micro_batch_size: int,
    fast: bool,
    processes: Processes,
    chunk_size: int = DEFAULT_CHUNK_SIZE,
) -> tuple[float, int]:
    """Return the mean loss in nats over the sampled tokens, and their number.

    Each process takes its share of the windows; all get the same result.
    """
    context_length = model.config.context_length
    starts = sample_starts(
        shards.num_tokens, context_length, config.valid_batches * config.batch_size
    )
    device = model.output_weight.device
    # A GPU adds up itself, so that the host waits once; MPS has no float64.
    place = device if device.type == "cuda" else torch.device("cpu")
    total = torch.zeros((), dtype=torch.float64, device=place)
    mine = starts[processes.rank :: processes.world_size]
    for first in range(0, len(mine), micro_batch_size):
        windows = read_windows(shards, mine[first : first + micro_batch_size], context_length + 1)
        windows = windows.to(device)  # (B, T + 1)
        losses = token_losses(
            model,
            windows[:, :-1],
            windows[:, 1:],
            precision=config.precision,
            fast=fast,
            chunk_size=chunk_size,
        )
        total += losses.to(place).sum(dtype=torch.float64)
    total = sum_tensor(total.to(device), processes)
    num_tokens = len(starts) * context_length
    return float(total) / num_tokens, num_tokens
