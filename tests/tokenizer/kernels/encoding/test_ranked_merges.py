"""Both ways to merge a pretoken: the reference's ids, and linear time on long ones."""

import random
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenizer.samples import SAMPLE
from tokenizer import reference
from tokenizer.encoding.merge_tables import merge_tables
from tokenizer.formats.merge_ids import merge_ids
from tokenizer.kernels.encoding.listed_merges import merge_by_lists
from tokenizer.kernels.encoding.ranked_merges import (
    MAX_RANK,
    SCAN_BYTES,
    merge_by_scanning,
    rank_of,
)

VOCAB, MERGES = reference.train_bpe(SAMPLE.encode() + b"aaaaaaaa aaab" * 9, 400, [])
IDS = {token: token_id for token_id, token in VOCAB.items()}
TABLES = merge_tables(IDS, merge_ids(IDS, MERGES))
# What the sample is made of, so that merges apply, and other bytes, so that they do not.
pretokens = st.one_of(
    st.text("a b", min_size=1, max_size=60).map(str.encode),
    st.lists(st.sampled_from(SAMPLE.split(" ")), min_size=1, max_size=6).map(
        lambda words: " ".join(words).encode() or b"x"
    ),
    st.binary(min_size=1, max_size=40),
)


def scanned(pretoken: bytes) -> list[int]:
    """Merge by scanning."""
    ids, ranks = np.zeros(SCAN_BYTES, np.int32), np.zeros(SCAN_BYTES, np.int32)
    size = merge_by_scanning(
        TABLES.byte_ids,
        TABLES.byte_ranks,
        TABLES.slots,
        TABLES.filter_bits,
        TABLES.merged_ids,
        np.frombuffer(pretoken, np.uint8),
        0,
        len(pretoken),
        ids,
        ranks,
    )
    return list(ids[:size].tolist())


def listed(pretoken: bytes) -> list[int]:
    """Merge by lists of places."""
    ids = np.zeros(len(pretoken), np.int32)
    data = np.frombuffer(pretoken, np.uint8)
    size = merge_by_lists(TABLES, data, 0, len(pretoken), ids)
    return list(ids[:size].tolist())


@given(pretoken=pretokens)
def test_merging_is_the_reference_s(pretoken: bytes) -> None:
    """Scanning, lists, and applying every merge in order give the same ids."""
    tokens = [bytes([byte]) for byte in pretoken]
    for pair in MERGES:
        tokens = reference.merge_pair(tokens, pair)
    expected = [IDS[token] for token in tokens]
    assert scanned(pretoken[:SCAN_BYTES]) == expected[:SCAN_BYTES]
    assert listed(pretoken) == expected


def test_ranks_are_those_of_the_merges() -> None:
    """Each merge is found with its rank, and other pairs have none."""
    ranks = {(IDS[left], IDS[right]): rank for rank, (left, right) in enumerate(MERGES)}
    source = random.Random(0)
    pairs = list(ranks) + [(source.randrange(400), source.randrange(400)) for _ in range(5000)]
    for left, right in pairs:
        found = rank_of(TABLES.slots, TABLES.filter_bits, left, right)
        assert found == ranks.get((left, right), MAX_RANK)


@pytest.mark.parametrize("unit", [b"a", b"ab", b"-", b"aaab ship"])
def test_one_long_pretoken_takes_linear_time(unit: bytes) -> None:
    """Sixteen times the length takes far less than the 256 times of quadratic merging."""
    small, large = (unit * size for size in (20_000, 320_000))
    listed(small)
    started = time.thread_time()
    listed(small)
    middle = time.thread_time()
    assert reference.decode(listed(large), VOCAB) == large
    assert time.thread_time() - middle < 64 * max(middle - started, 0.005)


def test_an_unusual_order_of_merges_is_merged_leftmost() -> None:
    """A token that two merges make, and that merges with itself, is still merged from the left."""
    merges = [(b"b", b"c"), (b"a", b"b"), (b"a", b"bc"), (b"ab", b"c"), (b"abc", b"abc")]
    tokens = [bytes([byte]) for byte in range(256)] + [b"bc", b"ab", b"abc", b"abcabc"]
    token_ids = {token: token_id for token_id, token in enumerate(tokens)}
    tables = merge_tables(token_ids, merge_ids(token_ids, merges))
    for text in (b"abc" * 5, b"abcabcab", b"ababcabc" * 3):
        ids = np.zeros(len(text), np.int32)
        data = np.frombuffer(text, np.uint8)
        size = merge_by_lists(tables, data, 0, len(text), ids)
        expected = reference.encode(text, dict(enumerate(tokens)), merges)
        assert ids[:size].tolist() == expected
