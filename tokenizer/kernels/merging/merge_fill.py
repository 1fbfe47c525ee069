"""Filling the arrays of the merge loop: cells, pairs with their counts, position runs.

Done before the first merge, after a checkpoint was read, and when the pool is full, to drop what
is stale in it.
"""

# Numba runs this, with its own types for scalars.
# mypy: disable-error-code="arg-type, no-any-return, return-value"

import numpy as np
from numpy.typing import NDArray

from tokenizer.kernels.intrinsics import borrowed
from tokenizer.kernels.jit import kernel
from tokenizer.kernels.merging.merge_state import (
    CELL_SHIFT,
    COUNT_MASK,
    DONE,
    HEAP_SIZE,
    NUM_PAIRS,
    PAIRS_FULL,
    POOL_SIZE,
    SEPARATOR,
    THRESHOLD,
    MergeState,
)
from tokenizer.kernels.merging.pair_table import enter_pair, find_pair, pair_key, pair_place


@kernel
def fill_cells(
    cells: NDArray[np.int32], data: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> None:
    """Write each pretoken's bytes as token ids, with one cell between two pretokens."""
    for word in range(len(offsets) - 1):
        for i in range(offsets[word], offsets[word + 1]):
            cells[i + word + 1] = data[i]


@kernel
def fill_table(state: MergeState) -> None:
    """Enter every pair into the empty table."""
    for pair in range(state.sizes[NUM_PAIRS]):
        enter_pair(state.table, state.pair_left[pair], state.pair_right[pair], pair)


@kernel
def number_pairs(state: MergeState) -> int:
    """Find all pairs in the cells, with their counts and the places of their runs.

    Returns DONE, or PAIRS_FULL when there is no room for so many. `sizes[POOL_SIZE]` is then what
    `fill_runs` writes to the pool.
    """
    state = borrowed(state)
    sizes = state.sizes
    state.table[:] = np.uint64(0)
    sizes[NUM_PAIRS] = sizes[POOL_SIZE] = sizes[HEAP_SIZE] = sizes[THRESHOLD] = 0
    if not _count_pairs(state):
        return PAIRS_FULL
    for pair in range(sizes[NUM_PAIRS]):
        state.run_start[pair] = sizes[POOL_SIZE]
        sizes[POOL_SIZE] += state.run_length[pair]
    return DONE


@kernel
def _count_pairs(state: MergeState) -> bool:
    """Number all pairs, with counts and run lengths; false when there is no room for them."""
    cells, table, token_length = state.cells, state.table, state.token_length
    pair_count, run_length = state.pair_count, state.run_length
    num_pairs = np.int64(0)
    max_pairs = min(len(state.pair_left), len(table) // 4)
    for word in range(len(state.word_counts)):
        count = state.word_counts[word]
        cell = state.word_offsets[word] + word + 1
        left = cells[cell]
        cell += token_length[left]
        right = cells[cell]
        while right != SEPARATOR:
            key = pair_key(left, right)
            place = pair_place(table, key)
            if table[place] == np.uint64(0):
                if num_pairs == max_pairs:
                    return False
                table[place] = key
                table[place + 1] = np.uint64(num_pairs)
                state.pair_left[num_pairs] = left
                state.pair_right[num_pairs] = right
                pair_count[num_pairs] = 0
                run_length[num_pairs] = 0
                num_pairs += 1
            pair = np.int64(table[place + 1])
            pair_count[pair] += count
            run_length[pair] += 1
            left = right
            cell += token_length[left]
            right = cells[cell]
    state.sizes[NUM_PAIRS] = num_pairs
    return True


@kernel
def fill_runs(state: MergeState) -> None:
    """Write the positions of all numbered pairs to their runs, in ascending order."""
    state = borrowed(state)
    state.run_length[: state.sizes[NUM_PAIRS]] = 0
    cells, table, token_length = state.cells, state.table, state.token_length
    pool, run_start, run_length = state.pool, state.run_start, state.run_length
    for word in range(len(state.word_counts)):
        packed = min(np.uint64(state.word_counts[word]), COUNT_MASK)
        cell = state.word_offsets[word] + word + 1
        left = cells[cell]
        after = cell + token_length[left]
        right = cells[after]
        while right != SEPARATOR:
            pair = find_pair(table, left, right)
            pool[run_start[pair] + run_length[pair]] = (np.uint64(cell) << CELL_SHIFT) | packed
            run_length[pair] += 1
            cell, left = after, right
            after = cell + token_length[left]
            right = cells[after]
