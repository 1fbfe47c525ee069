"""All tokens of a split on the device, and windows gathered there.

The same batches, bit for bit, as `lm/data/loader.py` reads from the memory map: which windows a
step reads is computed on the host, many steps ahead, and only the starts of the windows travel.
"""

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from lm.data.loader import BatchSource, Windows
from lm.data.shards import TokenShards, iter_blocks, window_starts

STEPS_AHEAD = 64
"""Steps whose windows are found and sent at once."""

_UINT16_MASK = 0xFFFF
"""The ids are kept as int16, which every operator knows; this gives the unsigned value."""


def copy_to_device(shards: TokenShards, device: torch.device) -> Int[Tensor, " tokens"]:
    """Copy a split to the device, block by block, in as many bytes as its shards take."""
    is_narrow = all(array.dtype.itemsize == 2 for array in shards.arrays)
    dtype = torch.int16 if is_narrow else torch.int32
    tokens = torch.empty(shards.num_tokens, dtype=dtype, device=device)
    place = 0
    for block in iter_blocks(shards):
        signed = block.view(np.int16) if is_narrow else block.astype(np.int32)
        tokens[place : place + len(block)] = torch.from_numpy(signed).to(device)
        place += len(block)
    return tokens


def gather_windows(
    tokens: Int[Tensor, " tokens"], starts: Int[Tensor, " batch"], length: int
) -> Int[Tensor, "batch length"]:
    """Return windows of `length` tokens as int64, without asking the host."""
    places = starts.unsqueeze(1) + torch.arange(length, device=starts.device)  # (B, T + 1)
    windows = tokens[places].to(torch.int64)
    return windows & _UINT16_MASK if tokens.dtype == torch.int16 else windows


class DeviceLoader:
    """Gathers batches from tokens on the device; takes the place of a `BatchLoader`."""

    def __init__(self, source: BatchSource, device: torch.device) -> None:
        """Copy the tokens; that takes a second per gigabyte or so."""
        self.tokens = copy_to_device(source.shards, device)
        self._source = source
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starts")
        self._ahead: tuple[int, Future[Tensor]] | None = None
        self._block = -1
        self._starts = torch.empty(0, dtype=torch.int64)

    def load(self, batch_index: int) -> Windows:
        """Return a batch on the device."""
        block, row = divmod(batch_index, STEPS_AHEAD)
        if block != self._block:
            self._starts = self._starts_of(block).to(self.tokens.device, non_blocking=True)
            self._block = block
        return gather_windows(self.tokens, self._starts[row], self._source.context_length + 1)

    def _starts_of(self, block: int) -> Int[Tensor, "steps batch"]:
        """Return the starts of a block of steps, and begin to find those of the next."""
        if self._ahead is not None and self._ahead[0] == block:
            starts = self._ahead[1].result()
        else:
            starts = self._executor.submit(self._find_starts, block).result()
        self._ahead = (block + 1, self._executor.submit(self._find_starts, block + 1))
        return starts

    def _find_starts(self, block: int) -> Int[Tensor, "steps batch"]:
        source = self._source
        batch_size = source.config.batch_size
        starts = window_starts(
            source.shards.num_tokens,
            source.context_length,
            seed=source.config.seed,
            step=block,
            batch_size=STEPS_AHEAD * batch_size,
            sampling=source.config.sampling,
        )
        rows = batch_size // source.world_size
        mine = starts.reshape(STEPS_AHEAD, batch_size)[:, source.rank * rows :][:, :rows]
        found = torch.from_numpy(np.ascontiguousarray(mine))
        return found.pin_memory() if source.pin_memory else found

    def close(self) -> None:
        """Stop looking ahead."""
        self._executor.shutdown(wait=True, cancel_futures=True)
