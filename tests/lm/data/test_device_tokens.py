"""Batches that are gathered on the device equal those that are read from the memory map."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lm.config import TrainConfig
from lm.data.device_tokens import STEPS_AHEAD, DeviceLoader
from lm.data.loader import BatchSource, read_batch
from lm.data.shards import TokenShards, open_shards


@pytest.fixture(params=[np.uint16, np.uint32])
def shards(tmp_path: Path, request: pytest.FixtureRequest) -> TokenShards:
    """Three shards of unequal length with ids in the upper half of uint16."""
    generator = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.npy" for number in range(3)]
    for path, length in zip(paths, (700, 1, 900), strict=True):
        np.save(path, generator.integers(30_000, 65_536, length).astype(request.param))
    return open_shards(paths)


@pytest.mark.parametrize("sampling", ["without_replacement", "with_replacement"])
@pytest.mark.parametrize("rank", [0, 1])
def test_the_batches_are_those_of_the_memory_map(
    shards: TokenShards, sampling: Any, rank: int
) -> None:
    """Over several epochs and blocks of steps, forwards and after a jump, in each process."""
    config = TrainConfig(batch_size=6, seed=3, sampling=sampling)
    source = BatchSource(shards=shards, config=config, context_length=16, rank=rank, world_size=2)
    loader = DeviceLoader(source, torch.device("cpu"))
    for index in (*range(STEPS_AHEAD - 2, 2 * STEPS_AHEAD + 2), 1000, 0):
        assert torch.equal(loader.load(index), read_batch(source, index)), index
    loader.close()


def test_narrow_ids_stay_narrow(shards: TokenShards) -> None:
    """On the device the tokens take the bytes of their files."""
    source = BatchSource(shards=shards, config=TrainConfig(), context_length=16)
    loader = DeviceLoader(source, torch.device("cpu"))
    assert loader.tokens.nbytes == shards.size_bytes
    loader.close()
