"""Own the hash table from a pair of token ids to the pair's index."""

# Numba runs this, with its own types for scalars.
# mypy: disable-error-code="arg-type, no-any-return, return-value"

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tokenizer.kernels.merge_state import NUM_PAIRS, MergeState

# 2**64 divided by the golden ratio: Knuth, The Art of Computer Programming, vol. 3, section 6.4.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(32)


@njit(cache=True, nogil=True)
def pair_slot(table: NDArray[np.uint64], left: int, right: int) -> int:
    """Return the slot that holds the pair, or the empty one where it belongs."""
    key = ((np.uint64(left) << _SHIFT) | np.uint64(right)) + np.uint64(1)
    mask = np.int64(len(table) // 2 - 1)
    mixed = key * _GOLDEN
    slot = np.int64(mixed ^ (mixed >> _SHIFT)) & mask
    while table[2 * slot] != np.uint64(0) and table[2 * slot] != key:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True, nogil=True)
def find_pair(state: MergeState, left: int, right: int) -> int:
    """Return the index of a pair that exists."""
    return np.int64(state.table[2 * pair_slot(state.table, left, right) + 1])


@njit(cache=True, nogil=True)
def add_pair(state: MergeState, left: int, right: int) -> int:
    """Return the index of the pair, new with count 0 when it is not there yet."""
    slot = pair_slot(state.table, left, right)
    if state.table[2 * slot] != np.uint64(0):
        return np.int64(state.table[2 * slot + 1])
    index = state.sizes[NUM_PAIRS]
    state.sizes[NUM_PAIRS] = index + 1
    key = ((np.uint64(left) << _SHIFT) | np.uint64(right)) + np.uint64(1)
    state.table[2 * slot] = key
    state.table[2 * slot + 1] = np.uint64(index)
    state.pair_left[index] = left
    state.pair_right[index] = right
    state.pair_count[index] = 0
    state.run_length[index] = 0
    return index
