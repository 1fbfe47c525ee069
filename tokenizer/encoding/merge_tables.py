"""The merges of a vocabulary in the tables that kernels read."""

from collections.abc import Mapping

import numpy as np

from tokenizer.config import NUM_BYTES
from tokenizer.formats.merge_ids import MergeIds
from tokenizer.kernels.encoding.ranked_merges import (
    EMPTY,
    FILTER_WORDS,
    MAX_RANK,
    MAX_TOKENS,
    Merges,
    enter_merges,
)


def merge_tables(ids: Mapping[bytes, int], merges: MergeIds) -> Merges:
    """Make the tables; a few milliseconds for 50,000 merges.

    Raises:
        ValueError: The vocabulary is larger than the tables can hold.
    """
    num_ids = max(ids.values()) + 1
    left, right, merged = merges
    if num_ids > MAX_TOKENS or len(left) >= MAX_RANK:
        raise ValueError(
            f"a vocabulary of {num_ids} ids and {len(left)} merges is too large for "
            f"the fast encoder; it takes up to {MAX_TOKENS} ids"
        )
    byte_ids = np.array([ids[bytes([byte])] for byte in range(NUM_BYTES)], dtype=np.int32)
    num_slots = 2 ** int(np.ceil(np.log2(2 * len(left) + 16)))
    slots = np.full(num_slots, EMPTY, np.uint64)
    filter_bits = np.zeros(FILTER_WORDS, np.uint64)
    enter_merges(slots, filter_bits, left, right)
    byte_of_id = np.full(num_ids, -1, np.int32)
    byte_of_id[byte_ids] = np.arange(NUM_BYTES)
    first, second = byte_of_id[left], byte_of_id[right]
    ranks = np.flatnonzero((first >= 0) & (second >= 0))
    byte_ranks = np.full(NUM_BYTES * NUM_BYTES, MAX_RANK, np.int32)
    byte_ranks[first[ranks] << 8 | second[ranks]] = ranks
    return Merges(
        byte_ids=byte_ids,
        byte_ranks=byte_ranks,
        slots=slots,
        filter_bits=filter_bits,
        left_ids=left,
        right_ids=right,
        merged_ids=merged,
    )
