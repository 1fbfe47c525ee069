"""Own the merge loop: find the best pair, replace it everywhere, keep the counts right."""

# Numba runs this, with its own types for scalars.
# mypy: disable-error-code="arg-type, no-any-return, return-value"

import numpy as np
from numba import njit

from tokenizer.kernels.intrinsics import prefetch
from tokenizer.kernels.merge_state import (
    BYTES_SIZE,
    CONSUMED,
    HEAP_SIZE,
    HEAP_WIDTH,
    NUM_MERGES,
    NUM_PAIRS,
    NUM_TOKENS,
    POOL_SIZE,
    SEPARATOR,
    THRESHOLD,
    MergeState,
)
from tokenizer.kernels.pair_heap import peek_best, push_pair
from tokenizer.kernels.pair_table import add_pair, find_pair

# What run_merges and build_pairs return.
DONE, EXHAUSTED, POOL_FULL, PAIRS_FULL, HEAP_FULL, BYTES_FULL = range(6)

_SHIFT = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
# Visits ahead whose cells are asked for: of 4, 8, 16 and 32 the best on large runs, and harmless.
_AHEAD = 16


@njit(cache=True, nogil=True)
def _count_of(state: MergeState, entry: np.uint64) -> np.int64:
    """Return the count of the pretoken that a pool entry lies in."""
    low = entry & _LOW
    if low != _LOW:
        return np.int64(low)
    cell = np.int64(entry >> _SHIFT)
    first, last = np.int64(0), np.int64(len(state.word_counts))
    while last - first > 1:
        middle = (first + last) // 2
        if state.word_offsets[middle] + middle + 1 <= cell:
            first = middle
        else:
            last = middle
    return state.word_counts[first]


@njit(cache=True, nogil=True)
def build_pairs(state: MergeState) -> int:
    """Find all pairs in the cells anew: their counts, and their runs in the pool.

    Returns DONE, or PAIRS_FULL or POOL_FULL when an array is too small. Used at the start, to go
    on from a checkpoint, and to drop what is stale when the pool is full.
    """
    sizes = state.sizes
    state.table[:] = np.uint64(0)
    sizes[NUM_PAIRS] = sizes[POOL_SIZE] = sizes[HEAP_SIZE] = sizes[THRESHOLD] = 0
    max_pairs = min(len(state.pair_left), len(state.table) // 4)
    for write in (False, True):
        for word in range(len(state.word_counts)):
            count = state.word_counts[word]
            packed = min(np.uint64(count), _LOW)
            cell = state.word_offsets[word] + word + 1
            left = state.cells[cell]
            after = cell + state.token_length[left]
            right = state.cells[after]
            while right != SEPARATOR:
                if not write and sizes[NUM_PAIRS] == max_pairs:
                    return PAIRS_FULL
                pair = add_pair(state, left, right)
                if write:
                    place = state.run_start[pair] + state.run_length[pair]
                    state.pool[place] = (np.uint64(cell) << _SHIFT) | packed
                else:
                    state.pair_count[pair] += count
                state.run_length[pair] += 1
                cell, left = after, right
                after = cell + state.token_length[left]
                right = state.cells[after]
        if not write:
            for pair in range(sizes[NUM_PAIRS]):
                state.run_start[pair] = sizes[POOL_SIZE]
                sizes[POOL_SIZE] += state.run_length[pair]
                state.run_length[pair] = 0
            if sizes[POOL_SIZE] > len(state.pool):
                return POOL_FULL
    return DONE


@njit(cache=True, nogil=True)
def _visit_run(state: MergeState, pair: int, token: int) -> int:
    """Replace the pair by `token` wherever it still stands; return how often.

    Fills the scratch arrays: per visit the entry and the neighbours (`SEPARATOR`: none), and by
    neighbour the sums. A right neighbour that becomes a `token` itself is taken back, because
    that pair (token, token) is the left neighbour's affair.
    """
    cells = state.cells
    left, right = state.pair_left[pair], state.pair_right[pair]
    left_length = state.token_length[left]
    length = left_length + state.token_length[right]
    start = state.run_start[pair]
    stop = start + state.run_length[pair]
    visits = 0
    replaced = np.int64(0)
    num_left = num_right = 0
    for i in range(start, stop):
        prefetch(cells, np.int64(state.pool[min(i + _AHEAD, stop - 1)] >> _SHIFT))
        entry = state.pool[i]
        cell = np.int64(entry >> _SHIFT)
        if cells[cell] != left or cells[cell + left_length] != right:
            continue
        count = _count_of(state, entry)
        before, after = cells[cell - 1], cells[cell + length]
        cells[cell + left_length] = CONSUMED
        cells[cell] = token
        cells[cell + length - 1] = token
        replaced += count
        if before != SEPARATOR:
            if state.side_visits[0, before] == 0:
                state.side_tokens[0, num_left] = before
                num_left += 1
            state.side_visits[0, before] += 1
            state.side_weight[0, before] += count
            if before == token:
                state.visit_right[visits - 1] = SEPARATOR
                state.side_visits[1, left] -= 1
        if after != SEPARATOR:
            if state.side_weight[1, after] == 0:
                state.side_tokens[1, num_right] = after
                num_right += 1
            state.side_visits[1, after] += 1
            state.side_weight[1, after] += count
        state.visit_entry[visits] = entry
        state.visit_left[visits] = before
        state.visit_right[visits] = after
        visits += 1
    state.merge_left[state.sizes[NUM_MERGES]] = left
    state.merge_right[state.sizes[NUM_MERGES]] = right
    state.merge_count[state.sizes[NUM_MERGES]] = replaced
    state.side_tokens[0, num_left] = SEPARATOR
    state.side_tokens[1, num_right] = SEPARATOR
    return visits


@njit(cache=True, nogil=True)
def _new_run(state: MergeState, left: int, right: int, count: int, length: int) -> int:
    """Add a pair with its count and room for its run; return where the run starts."""
    pair = add_pair(state, left, right)
    start = state.sizes[POOL_SIZE]
    state.sizes[POOL_SIZE] = start + length
    state.pair_count[pair] = count
    state.run_start[pair] = start
    state.run_length[pair] = length
    push_pair(state, pair)
    return start


@njit(cache=True, nogil=True)
def _update_pairs(state: MergeState, left: int, right: int, token: int) -> None:
    """Take the consumed pairs from the counts and add the new ones; leave cursors for the runs."""
    weight, visits = state.side_weight, state.side_visits
    taken_back = weight[0, token]
    i = 0
    while state.side_tokens[0, i] != SEPARATOR:
        before = state.side_tokens[0, i]
        if before != token:
            state.pair_count[find_pair(state, before, left)] -= weight[0, before]
        visits[0, before] = _new_run(state, before, token, weight[0, before], visits[0, before])
        i += 1
    i = 0
    while state.side_tokens[1, i] != SEPARATOR:
        after = state.side_tokens[1, i]
        state.pair_count[find_pair(state, right, after)] -= weight[1, after]
        if visits[1, after] > 0:
            count = weight[1, after] - (taken_back if after == left else 0)
            visits[1, after] = _new_run(state, token, after, count, visits[1, after])
        i += 1


@njit(cache=True, nogil=True)
def _write_runs(state: MergeState, visits: int) -> None:
    """Write the positions of the new pairs to their runs, in ascending order, and clean up."""
    cursor = state.side_visits
    for i in range(visits):
        entry = state.visit_entry[i]
        before, after = state.visit_left[i], state.visit_right[i]
        if before != SEPARATOR:
            place = cursor[0, before]
            state.pool[place] = entry - (np.uint64(state.token_length[before]) << _SHIFT)
            cursor[0, before] = place + 1
        if after != SEPARATOR:
            state.pool[cursor[1, after]] = entry
            cursor[1, after] += 1
    for side in range(2):
        i = 0
        while state.side_tokens[side, i] != SEPARATOR:
            cursor[side, state.side_tokens[side, i]] = 0
            state.side_weight[side, state.side_tokens[side, i]] = 0
            i += 1


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _first_word(state: MergeState, token: int) -> np.uint64:
    """Return the first 8 bytes of a token, the first one highest, zeros after its end."""
    word = np.uint64(0)
    for i in range(8):
        byte = np.uint64(0)
        if i < state.token_length[token]:
            byte = np.uint64(state.token_bytes[state.token_start[token] + i])
        word = (word << np.uint64(8)) | byte
    return word


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def run_merges(state: MergeState, last_merge: int, by_bytes: bool) -> int:
    """Merge until `last_merge` merges are made; return DONE, EXHAUSTED or which array is full.

    With `by_bytes` ties are decided by the tokens' bytes, greater first, else by the tokens' age,
    older first (`token_order` of the single bytes is the caller's).
    """
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
            state.token_order[token] = _first_word(state, token)
        else:
            state.token_order[token] = ~np.uint64(token)
        sizes[NUM_TOKENS] = token + 1
        visits = _visit_run(state, pair, token)
        _update_pairs(state, left, right, token)
        state.pair_count[pair] = 0
        _write_runs(state, visits)
        sizes[NUM_MERGES] += 1
    return DONE
