"""The training batches of one process, read a step ahead in a thread.

Any step can be asked for at any time; the only state is the batch that was read ahead.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from lm.config import TrainConfig
from lm.data.shards import TokenShards, read_windows, release_pages, window_starts

Windows = Int[Tensor, "batch window"]

WINDOWS_BETWEEN_RELEASES = 512
"""Windows read before mapped pages are handed back: 32 MiB at most, as Linux maps the 16 pages
around a fault (fault_around_bytes)."""


@dataclass(frozen=True, kw_only=True)
class BatchSource:
    """Everything that determines which rows of a batch this process reads."""

    shards: TokenShards
    config: TrainConfig
    context_length: int
    rank: int = 0
    world_size: int = 1
    pin_memory: bool = False


def read_batch(source: BatchSource, batch_index: int) -> Windows:
    """Read this process's rows of global batch `batch_index`: inputs and one token more."""
    config = source.config
    starts = window_starts(
        source.shards.num_tokens,
        source.context_length,
        seed=config.seed,
        step=batch_index,
        batch_size=config.batch_size,
        sampling=config.sampling,
    )
    rows = config.batch_size // source.world_size
    starts = starts[source.rank * rows : (source.rank + 1) * rows]
    windows = read_windows(source.shards, starts, source.context_length + 1)
    if batch_index % max(1, WINDOWS_BETWEEN_RELEASES // max(1, rows)) == 0:
        release_pages(source.shards)
    return windows.pin_memory() if source.pin_memory else windows


class BatchLoader:
    """Reads the next batch while the model works on this one."""

    def __init__(self, read: Callable[[int], Windows]) -> None:
        self._read = read
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._ahead: tuple[int, Future[Windows]] | None = None

    def load(self, batch_index: int) -> Windows:
        """Return a batch and start reading the next one."""
        if self._ahead is not None and self._ahead[0] == batch_index:
            windows = self._ahead[1].result()
        else:
            windows = self._executor.submit(self._read, batch_index).result()
        self._ahead = (batch_index + 1, self._executor.submit(self._read, batch_index + 1))
        return windows

    def close(self) -> None:
        """Stop reading ahead; what was read is dropped."""
        self._executor.shutdown(wait=True, cancel_futures=True)
