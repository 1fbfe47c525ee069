"""Tests of `lm/data/shards.py` and `lm/data/loader.py`."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lm.config import Sampling, TrainConfig
from lm.data.loader import BatchLoader, BatchSource, read_batch
from lm.data.shards import (
    TokenShards,
    check_length,
    check_token_ids,
    get_batch,
    iter_blocks,
    open_shards,
    read_windows,
    window_starts,
    windows_per_epoch,
)


def write_shards(folder: Path, parts: Sequence[NDArray[Any]]) -> list[Path]:
    """Write token arrays as shard files."""
    paths = [folder / f"shard-{index}.npy" for index in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        np.save(path, part)
    return paths


@pytest.fixture
def shards(tmp_path: Path) -> TokenShards:
    """Tokens 0..999 in three shards, the second of them empty."""
    tokens = np.arange(1000, dtype=np.uint16)
    return open_shards(write_shards(tmp_path, [tokens[:313], tokens[:0], tokens[313:]]))


def test_windows_span_shards(shards: TokenShards) -> None:
    """A window that reaches the end of a shard continues in the next one."""
    windows = read_windows(shards, np.array([310, 0, 995]), 5)
    assert windows.tolist() == [[310, 311, 312, 313, 314], [0, 1, 2, 3, 4], [*range(995, 1000)]]
    assert windows.dtype == torch.int64


def test_blocks_give_every_token_once(shards: TokenShards) -> None:
    """Sequential reading yields the stream in order, whatever the block size."""
    assert np.concatenate(list(iter_blocks(shards, block_tokens=100))).tolist() == [*range(1000)]


@settings(deadline=None, max_examples=40)
@given(
    num_tokens=st.integers(2, 200),
    context_length=st.integers(1, 40),
    batch_size=st.integers(4, 20),
    seed=st.integers(0, 2**63),
)
def test_an_epoch_reads_every_window_once(
    num_tokens: int, context_length: int, batch_size: int, seed: int
) -> None:
    """Within an epoch no two windows are the same, and all lie inside the stream."""
    num_tokens = max(num_tokens, context_length + 1)
    epoch_size = windows_per_epoch(num_tokens, context_length)
    num_steps = 2 * epoch_size // batch_size + 2
    starts = np.concatenate(
        [
            window_starts(num_tokens, context_length, seed=seed, step=step, batch_size=batch_size)
            for step in range(num_steps)
        ]
    )
    assert starts.min() >= 0
    assert starts.max() + context_length + 1 <= num_tokens
    for epoch in range(2):
        windows = np.sort(starts[epoch * epoch_size : (epoch + 1) * epoch_size])
        assert (np.diff(windows) == context_length).all()


def test_epochs_differ_in_order_and_phase() -> None:
    """The second epoch reads other windows than the first, in another order."""
    first, second = (
        window_starts(10_001, 100, seed=1, step=step, batch_size=99) for step in range(2)
    )
    assert first[0] % 100 != second[0] % 100
    assert not np.array_equal(first // 100, second // 100)


@pytest.mark.parametrize("sampling", ["without_replacement", "with_replacement"])
def test_the_order_does_not_depend_on_the_batch_size(sampling: Sampling) -> None:
    """The n-th sequence of a run is the same however the sequences are grouped."""
    large = window_starts(5000, 64, seed=3, step=0, batch_size=12, sampling=sampling)
    small = [
        window_starts(5000, 64, seed=3, step=step, batch_size=4, sampling=sampling)
        for step in range(3)
    ]
    assert np.array_equal(large, np.concatenate(small))


def test_sampling_with_replacement_is_uniform() -> None:
    """Starts fall on every place equally often: chi-square within 5 sigma."""
    places = 200
    starts = window_starts(
        places + 32, 32, seed=0, step=0, batch_size=40_000, sampling="with_replacement"
    )
    expected = 40_000 / places
    statistic = float(((np.bincount(starts, minlength=places) - expected) ** 2 / expected).sum())
    assert len(np.bincount(starts)) == places
    assert abs(statistic - (places - 1)) < 5 * np.sqrt(2 * (places - 1))


def test_get_batch_is_uniform_and_shifted_by_one() -> None:
    """The course's sampler draws every start equally often; targets are the next tokens."""
    torch.manual_seed(0)
    tokens = np.arange(100)
    counts = np.zeros(93)
    for _ in range(1000):
        inputs, targets = get_batch(tokens, 32, 7)
        assert torch.equal(inputs + 1, targets)
        counts += np.bincount(inputs[:, 0].numpy(), minlength=93)
    expected = 32_000 / 93
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_get_batch_refuses_tokens_shorter_than_a_window() -> None:
    """Too few tokens name the window's length."""
    with pytest.raises(ValueError, match="context_length \\+ 1 = 11"):
        get_batch(np.arange(10), 2, 10)


def test_ids_beyond_the_vocabulary_are_refused(shards: TokenShards) -> None:
    """The error names the id, the limit and the file."""
    check_token_ids(shards, 1000)
    with pytest.raises(ValueError, match=r"shard-2\.npy holds token id 999.*below 999"):
        check_token_ids(shards, 999)


def test_shards_shorter_than_a_window_are_refused(shards: TokenShards) -> None:
    """The error names both lengths and the longest context that would do."""
    check_length(shards, 999)
    with pytest.raises(ValueError, match=r"1000 tokens.*1001.*at most 999"):
        check_length(shards, 1000)


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2), dtype=np.uint16), np.zeros(3, dtype=np.int64), np.zeros(3)]
)
def test_files_that_are_no_shards_are_refused(tmp_path: Path, array: NDArray[Any]) -> None:
    """A wrong dtype or shape is an error that names the file."""
    with pytest.raises(ValueError, match=r"shard-0\.npy holds .*one-dimensional"):
        open_shards(write_shards(tmp_path, [array]))


def test_a_truncated_shard_is_refused(tmp_path: Path) -> None:
    """A file that was cut off is named, not read as noise."""
    path = write_shards(tmp_path, [np.zeros(1000, dtype=np.uint16)])[0]
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"not a whole \.npy file"):
        open_shards([path])


def test_no_shards_are_refused() -> None:
    """An empty list of shards says what to give."""
    with pytest.raises(ValueError, match="at least one"):
        open_shards([])


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_processes_share_the_same_global_batch(shards: TokenShards, world_size: int) -> None:
    """The rows of all processes, joined, are the batch of one process."""
    config = TrainConfig(batch_size=8)
    whole = read_batch(BatchSource(shards=shards, config=config, context_length=16), 5)
    parts = [
        BatchSource(
            shards=shards, config=config, context_length=16, rank=rank, world_size=world_size
        )
        for rank in range(world_size)
    ]
    assert torch.equal(whole, torch.cat([read_batch(part, 5) for part in parts]))


def test_the_loader_gives_any_batch_in_any_order() -> None:
    """Reading ahead changes nothing about which batch is returned."""
    loader = BatchLoader(lambda index: torch.tensor([[index]]))
    assert [int(loader.load(index)) for index in (0, 1, 2, 7, 8, 3)] == [0, 1, 2, 7, 8, 3]
    loader.close()


def test_a_read_that_fails_is_raised_by_load() -> None:
    """An error in the reading thread reaches the caller."""

    def read(index: int) -> torch.Tensor:
        if index == 1:
            raise OSError("disk gone")
        return torch.tensor([[index]])

    loader = BatchLoader(read)
    loader.load(0)
    with pytest.raises(OSError, match="disk gone"):
        loader.load(1)
    loader.close()


RESIDENT_MEMORY_SCRIPT = """
import resource, sys
from pathlib import Path
from lm.config import TrainConfig
from lm.data.shards import check_token_ids, open_shards
from lm.data.loader import BatchSource, read_batch

shards = open_shards([Path(sys.argv[1])])
source = BatchSource(shards=shards, config=TrainConfig(batch_size=64), context_length=256)
read_batch(source, 0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
check_token_ids(shards, 10)
for step in range(600):
    read_batch(source, step)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_resident_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    """Checking and sampling a 128 MiB shard takes less than 64 MiB of resident memory."""
    path = tmp_path / "shard.npy"
    np.save(path, np.zeros(2**26, dtype=np.uint16))
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT_MEMORY_SCRIPT, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 64
