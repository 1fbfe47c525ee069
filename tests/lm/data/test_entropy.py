"""Tests of `lm/data/entropy.py`."""

import math
from pathlib import Path

import numpy as np
import pytest

import lm.data.entropy
from lm.data.entropy import bigram_entropy, unigram_entropy


def write_shards(folder: Path, *parts: list[int]) -> list[Path]:
    """Write token lists as shard files."""
    paths = [folder / f"shard-{index}.npy" for index in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        np.save(path, np.array(part, dtype=np.uint16))
    return paths


def test_entropies_of_hand_computed_streams(tmp_path: Path) -> None:
    """Equal halves have log 2 without context, and none with one token of it."""
    paths = write_shards(tmp_path, [0, 1] * 3, [0, 1] * 5)
    assert unigram_entropy(paths, 4) == pytest.approx(math.log(2), abs=1e-15)
    assert bigram_entropy(paths, 4) == pytest.approx(0.0, abs=1e-15)
    paths = write_shards(tmp_path, [0, 0, 1, 0, 2])
    assert unigram_entropy(paths, 3) == pytest.approx(0.6 * math.log(5 / 3) + 0.4 * math.log(5))
    assert bigram_entropy(paths, 3) == pytest.approx(3 * math.log(3) / 4)


@pytest.mark.parametrize("memory_limit_bytes", [1, 8 * 50 * 7, 2**20])
def test_bigram_entropy_is_the_same_in_any_number_of_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory_limit_bytes: int
) -> None:
    """Little memory takes more passes and gives the same number, shards joined or not."""
    tokens = (np.random.default_rng(0).integers(0, 50, 5000) ** 2 // 50).tolist()
    paths = write_shards(tmp_path, tokens[:777], [], tokens[777:])
    pairs = np.zeros((50, 50))
    np.add.at(pairs, (tokens[:-1], tokens[1:]), 1)
    given = pairs.sum(axis=1, keepdims=True)
    expected = -(pairs * np.log(np.where(pairs, pairs, 1) / np.where(given, given, 1))).sum() / 4999
    monkeypatch.setattr(lm.data.entropy, "MEMORY_LIMIT_BYTES", memory_limit_bytes)
    assert bigram_entropy(paths, 50) == pytest.approx(expected, rel=1e-12)


def test_streams_without_tokens_or_with_unknown_ids_are_refused(tmp_path: Path) -> None:
    """Nothing to count and ids beyond the vocabulary are errors."""
    empty = write_shards(tmp_path, [])
    with pytest.raises(ValueError, match="no tokens"):
        unigram_entropy(empty, 3)
    with pytest.raises(ValueError, match="a pair needs two"):
        bigram_entropy(empty, 3)
    paths = write_shards(tmp_path, [0, 7])
    for entropy in (unigram_entropy, bigram_entropy):
        with pytest.raises(ValueError, match="token id 7 is not below"):
            entropy(paths, 7)
