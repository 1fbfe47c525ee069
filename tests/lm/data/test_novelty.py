"""Tests of `lm/data/novelty.py`: what is counted, against sets of tuples."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lm.data.novelty
from lm.data.novelty import distinct_share, ngrams_of, seen_share
from lm.data.shards import open_shards

token_lists = st.lists(st.integers(0, 3), max_size=30)


def test_distinct_share_counts_different_ngrams() -> None:
    """Two of the three pairs of 1 2 1 2 are different; no n-gram crosses samples."""
    assert distinct_share([[1, 2, 1, 2]], 2) == pytest.approx(2 / 3)
    assert distinct_share([[1], [2]], 2) == 0.0
    assert distinct_share([[1], [1]], 1) == 0.5


@given(samples=st.lists(token_lists, max_size=3), text=token_lists, cut=st.integers(0, 30))
def test_seen_share_equals_a_look_up_in_a_set(
    tmp_path_factory: pytest.TempPathFactory, samples: list[list[int]], text: list[int], cut: int
) -> None:
    """N-grams over the ends of blocks and shards are found, and no other."""
    folder: Path = tmp_path_factory.mktemp("shards")
    parts = [text[:cut], text[cut:]]
    for number, part in enumerate(parts):
        np.save(folder / f"{number}.npy", np.array(part, dtype=np.uint16))
    shards = open_shards([folder / "0.npy", folder / "1.npy"])
    there = set(ngrams_of([text], 4))
    wanted = ngrams_of(samples, 4)
    expected = sum(ngram in there for ngram in wanted) / len(wanted) if wanted else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lm.data.novelty, "_BLOCK_TOKENS", 5)
        assert seen_share(samples, shards, n=4) == pytest.approx(expected)
