"""Merging one pretoken: always the earliest learned merge that fits, at its leftmost place.

The result is that of applying all merges in order, because a pair with a token in it was learned
after that token (`tokenizer.reference.encode` is the definition). This scans for the lowest rank,
which is fastest for the pretokens of real text; for very long ones see `listed_merges`. (Tried and
slower: all ranks in one vector register, whose loads wait for the stores to single lanes.)
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenizer.kernels.intrinsics import load_item, store_item
from tokenizer.kernels.jit import kernel

# Numba runs this, with its own types for scalars.
# mypy: disable-error-code="arg-type, assignment, no-any-return, return-value"

MAX_RANK = 2**22 - 1
"""Also means "no merge"; a slot packs 21 bits of each token and 22 of the rank."""

MAX_TOKENS = 2**21
"""Largest vocabulary: a token has 21 bits in a slot."""

SCAN_BYTES = 256
"""Longest pretoken that is merged by scanning; at 512 the lists were already faster."""

EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
"""A free slot."""

FILTER_WORDS = 2**14
"""Words of the filter: 2**20 bits, of which 50,000 merges set at most one in 20."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # Knuth, vol. 3, section 6.4
_RANK_BITS, _TOKEN_BITS = np.uint64(22), np.uint64(21)
_RANK_MASK = np.uint64(MAX_RANK)
_HASH_SHIFT = np.uint64(32)
_WORD_SHIFT, _BIT_SHIFT, _BIT_MASK = np.uint64(50), np.uint64(44), np.uint64(63)
"""The filter takes the highest bits of the hash: 14 for the word, then 6 for the bit."""

_ZERO, _ONE = np.uint64(0), np.uint64(1)


class Merges(NamedTuple):
    """The merges as kernels read them."""

    byte_ids: NDArray[np.int32]
    """(256,) token id of each byte."""

    byte_ranks: NDArray[np.int32]
    """(65536,) rank of the merge of two bytes, by first << 8 | second; MAX_RANK: none."""

    slots: NDArray[np.uint64]
    """Open addressing: left << 43 | right << 22 | rank; EMPTY: free."""

    filter_bits: NDArray[np.uint64]
    """(FILTER_WORDS,) where a bit is not set, its pairs have no merge. Most pairs have none, and
    these 128 KB stay in the cache when `slots` does not."""

    left_ids: NDArray[np.int32]
    right_ids: NDArray[np.int32]
    merged_ids: NDArray[np.int32]
    """(merges,) by rank, the tokens that are merged and the token that they become."""


@kernel
def enter_merges(
    slots: NDArray[np.uint64],
    filter_bits: NDArray[np.uint64],
    left: NDArray[np.int32],
    right: NDArray[np.int32],
) -> None:
    """Enter all merges; of a pair that is listed twice the first one counts."""
    mask = np.int64(len(slots) - 1)
    for rank in range(len(left)):
        key = (np.uint64(left[rank]) << _TOKEN_BITS) | np.uint64(right[rank])
        mixed = key * _GOLDEN
        filter_bits[np.int64(mixed >> _WORD_SHIFT)] |= _ONE << ((mixed >> _BIT_SHIFT) & _BIT_MASK)
        place = np.int64(mixed >> _HASH_SHIFT) & mask
        while slots[place] != EMPTY and slots[place] >> _RANK_BITS != key:
            place = (place + 1) & mask
        if slots[place] == EMPTY:
            slots[place] = (key << _RANK_BITS) | np.uint64(rank)


@kernel
def rank_of(
    slots: NDArray[np.uint64], filter_bits: NDArray[np.uint64], left: int, right: int
) -> int:
    """Return the rank of the merge of two tokens, MAX_RANK when there is none."""
    key = (np.uint64(left) << _TOKEN_BITS) | np.uint64(right)
    mixed = key * _GOLDEN
    word = load_item(filter_bits, np.int64(mixed >> _WORD_SHIFT))
    if (word >> ((mixed >> _BIT_SHIFT) & _BIT_MASK)) & _ONE == _ZERO:
        return np.int64(MAX_RANK)
    mask = np.int64(len(slots) - 1)
    place = np.int64(mixed >> _HASH_SHIFT) & mask
    while True:
        slot = load_item(slots, place)
        if slot >> _RANK_BITS == key:
            return np.int64(slot & _RANK_MASK)
        if slot == EMPTY:
            return np.int64(MAX_RANK)
        place = (place + 1) & mask


@kernel
def merge_by_scanning(
    byte_ids: NDArray[np.int32],
    byte_ranks: NDArray[np.int32],
    slots: NDArray[np.uint64],
    filter_bits: NDArray[np.uint64],
    merged_ids: NDArray[np.int32],
    data: NDArray[np.uint8],
    at: int,
    length: int,
    ids: NDArray[np.int32],
    ranks: NDArray[np.int32],
) -> int:
    """Write the token ids of a pretoken to `ids`; return their number.

    Item i of `ranks`, scratch, is the rank of the pair of ids i and i + 1. The arguments are the
    arrays of `Merges`, because to pass on a tuple counts references to all its arrays.
    """
    first = np.int64(load_item(data, at))
    store_item(ids, 0, load_item(byte_ids, first))
    best, place = np.int64(MAX_RANK), np.int64(0)
    for i in range(1, length):
        second = np.int64(load_item(data, at + i))
        store_item(ids, i, load_item(byte_ids, second))
        rank = np.int64(load_item(byte_ranks, (first << 8) | second))
        store_item(ranks, i - 1, rank)
        if rank < best:
            best, place = rank, np.int64(i - 1)
        first = second
    size = length
    while best != MAX_RANK:
        token = load_item(merged_ids, best)
        store_item(ids, place, token)
        size -= 1
        for i in range(place + 1, size):
            store_item(ids, i, load_item(ids, i + 1))
            store_item(ranks, i - 1, load_item(ranks, i))
        if place > 0:
            left = load_item(ids, place - 1)
            store_item(ranks, place - 1, rank_of(slots, filter_bits, left, token))
        if place < size - 1:
            right = load_item(ids, place + 1)
            store_item(ranks, place, rank_of(slots, filter_bits, token, right))
        best = np.int64(MAX_RANK)
        for i in range(size - 1):
            rank = np.int64(load_item(ranks, i))
            if rank < best:
                best, place = rank, np.int64(i)
    return size
