"""The merge loop: find the best pair, replace it everywhere, keep the counts right."""

# Numba runs this, with its own types for scalars.
# mypy: disable-error-code="arg-type, no-any-return, return-value"

import numpy as np
from numpy.typing import NDArray

from tokenizer.kernels.intrinsics import borrowed, prefetch
from tokenizer.kernels.jit import inlined, kernel
from tokenizer.kernels.merging.merge_state import (
    BYTES_FULL,
    BYTES_SIZE,
    CELL_SHIFT,
    CONSUMED,
    COUNT_MASK,
    DONE,
    EXHAUSTED,
    HEAP_FULL,
    HEAP_SIZE,
    HEAP_WIDTH,
    NUM_MERGES,
    NUM_PAIRS,
    NUM_TOKENS,
    PAIRS_FULL,
    POOL_FULL,
    POOL_SIZE,
    SEPARATOR,
    THRESHOLD,
    MergeState,
)
from tokenizer.kernels.merging.pair_heap import order_word, peek_best, push_pair
from tokenizer.kernels.merging.pair_table import enter_pair, find_pair

_AHEAD = 16
"""Visits ahead whose cells are prefetched: of 4, 8, 16 and 32 the best on large runs, and harmless
on small ones."""


@kernel
def _large_count(
    cell: int, word_offsets: NDArray[np.int64], word_counts: NDArray[np.int64]
) -> np.int64:
    """Return the count of the pretoken that has a cell, by bisection."""
    first, last = np.int64(0), np.int64(len(word_counts))
    while last - first > 1:
        middle = (first + last) // 2
        if word_offsets[middle] + middle + 1 <= cell:
            first = middle
        else:
            last = middle
    return word_counts[first]


@inlined
def _visit_run(state: MergeState, pair: int, token: int) -> int:
    """Replace the pair by `token` wherever it still occurs; return how often.

    Fills the scratch arrays: per visit the entry and the neighbours (`SEPARATOR`: none), and by
    neighbour the sums. A right neighbour that becomes a `token` itself is taken back, because the
    pair (token, token) is counted once, at its right token.
    """
    cells, pool = state.cells, state.pool
    weight, met, tokens = state.side_weight, state.side_visits, state.side_tokens
    visit_entry, visit_left, visit_right = state.visit_entry, state.visit_left, state.visit_right
    left, right = state.pair_left[pair], state.pair_right[pair]
    left_length = state.token_length[left]
    length = left_length + state.token_length[right]
    start = state.run_start[pair]
    stop = start + state.run_length[pair]
    visits = num_left = num_right = np.int64(0)
    replaced = np.int64(0)
    for i in range(start, stop):
        prefetch(cells, np.int64(pool[min(i + _AHEAD, stop - 1)] >> CELL_SHIFT))
        entry = pool[i]
        cell = np.int64(entry >> CELL_SHIFT)
        if cells[cell] != left or cells[cell + left_length] != right:
            continue
        count = np.int64(entry & COUNT_MASK)
        if np.uint64(count) == COUNT_MASK:
            count = _large_count(cell, state.word_offsets, state.word_counts)
        before, after = cells[cell - 1], cells[cell + length]
        cells[cell + left_length] = CONSUMED
        cells[cell] = token
        cells[cell + length - 1] = token
        replaced += count
        if before != SEPARATOR:
            if met[0, before] == 0:
                tokens[0, num_left] = before
                num_left += 1
            met[0, before] += 1
            weight[0, before] += count
            if before == token:
                visit_right[visits - 1] = SEPARATOR
                met[1, left] -= 1
        if after != SEPARATOR:
            if weight[1, after] == 0:
                tokens[1, num_right] = after
                num_right += 1
            met[1, after] += 1
            weight[1, after] += count
        visit_entry[visits] = entry
        visit_left[visits] = before
        visit_right[visits] = after
        visits += 1
    merge = state.sizes[NUM_MERGES]
    state.merge_left[merge] = left
    state.merge_right[merge] = right
    state.merge_count[merge] = replaced
    tokens[0, num_left] = SEPARATOR
    tokens[1, num_right] = SEPARATOR
    return visits


@inlined
def _update_pairs(state: MergeState, left: int, right: int, token: int) -> None:
    """Subtract the consumed pairs from the counts, add the new pairs, set cursors for the runs."""
    weight, met, tokens, table = (
        state.side_weight,
        state.side_visits,
        state.side_tokens,
        state.table,
    )
    pair_count = state.pair_count
    first_new = state.sizes[NUM_PAIRS]
    pair = first_new
    cursor = state.sizes[POOL_SIZE]
    taken_back = weight[0, token]
    for side in range(2):
        i = 0
        while tokens[side, i] != SEPARATOR:
            near = tokens[side, i]
            i += 1
            count, length = weight[side, near], met[side, near]
            if side == 0:
                new_left, new_right = near, token
                if near != token:
                    pair_count[find_pair(table, near, left)] -= count
            else:
                new_left, new_right = token, near
                pair_count[find_pair(table, right, near)] -= count
                if near == left:
                    count -= taken_back
            if length == 0:
                continue
            enter_pair(table, new_left, new_right, pair)
            state.pair_left[pair] = new_left
            state.pair_right[pair] = new_right
            pair_count[pair] = count
            state.run_start[pair] = cursor
            state.run_length[pair] = length
            met[side, near] = cursor
            cursor += length
            pair += 1
    state.sizes[NUM_PAIRS] = pair
    state.sizes[POOL_SIZE] = cursor
    for new in range(first_new, pair):
        if pair_count[new] >= state.sizes[THRESHOLD]:
            push_pair(state, new)


@inlined
def _write_runs(state: MergeState, visits: int) -> None:
    """Write the positions of the new pairs to their runs, in ascending order, and clean up."""
    cursor, tokens, weight = state.side_visits, state.side_tokens, state.side_weight
    pool, token_length = state.pool, state.token_length
    for i in range(visits):
        entry = state.visit_entry[i]
        before, after = state.visit_left[i], state.visit_right[i]
        if before != SEPARATOR:
            place = cursor[0, before]
            pool[place] = entry - (np.uint64(token_length[before]) << CELL_SHIFT)
            cursor[0, before] = place + 1
        if after != SEPARATOR:
            place = cursor[1, after]
            pool[place] = entry
            cursor[1, after] = place + 1
    for side in range(2):
        i = 0
        while tokens[side, i] != SEPARATOR:
            cursor[side, tokens[side, i]] = 0
            weight[side, tokens[side, i]] = 0
            i += 1


@inlined
def _add_token(state: MergeState, left: int, right: int, token: int) -> None:
    """Record the new token's length and bytes."""
    left_length, right_length = state.token_length[left], state.token_length[right]
    start = state.sizes[BYTES_SIZE]
    for i in range(left_length):
        state.token_bytes[start + i] = state.token_bytes[state.token_start[left] + i]
    for i in range(right_length):
        byte = state.token_bytes[state.token_start[right] + i]
        state.token_bytes[start + left_length + i] = byte
    state.token_start[token] = start
    state.token_length[token] = left_length + right_length
    state.sizes[BYTES_SIZE] = start + left_length + right_length


@inlined
def _lacks_room(state: MergeState, pair: int) -> int:
    """Return which array the merge of this pair could overflow, or DONE."""
    sizes = state.sizes
    run = state.run_length[pair]
    new_pairs = 2 * min(run, sizes[NUM_TOKENS] + 1)
    if sizes[POOL_SIZE] + 2 * run > len(state.pool):
        return POOL_FULL
    if sizes[NUM_PAIRS] + new_pairs > min(len(state.pair_left), len(state.table) // 4):
        return PAIRS_FULL
    if HEAP_WIDTH * (sizes[HEAP_SIZE] + new_pairs) > len(state.heap):
        return HEAP_FULL
    length = state.token_length[state.pair_left[pair]] + state.token_length[state.pair_right[pair]]
    if sizes[BYTES_SIZE] + length > len(state.token_bytes):
        return BYTES_FULL
    return DONE


@kernel
def run_merges(state: MergeState, last_merge: int, by_bytes: bool) -> int:
    """Merge until `last_merge` merges are made; return DONE, EXHAUSTED or which array is full.

    With `by_bytes` ties are decided by the tokens' bytes, greater first, else by the tokens' age,
    older first (the caller sets `token_order` of the single bytes).
    """
    state = borrowed(state)
    sizes = state.sizes
    while sizes[NUM_MERGES] < last_merge:
        pair = peek_best(state)
        if pair < 0:
            return EXHAUSTED if pair == -1 else HEAP_FULL
        full = _lacks_room(state, pair)
        if full != DONE:
            return full
        left, right = state.pair_left[pair], state.pair_right[pair]
        token = sizes[NUM_TOKENS]
        _add_token(state, left, right, token)
        if by_bytes:
            state.token_order[token] = order_word(
                state.token_bytes, state.token_start[token], state.token_length[token]
            )
        else:
            state.token_order[token] = ~np.uint64(token)
        sizes[NUM_TOKENS] = token + 1
        visits = _visit_run(state, pair, token)
        _update_pairs(state, left, right, token)
        state.pair_count[pair] = 0
        _write_runs(state, visits)
        sizes[NUM_MERGES] += 1
    return DONE
