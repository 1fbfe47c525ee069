"""The order of pairs, and the binary heap with lazy deletion that gives the greatest.

Order: count, then the tie rule as two words per pair (`token_order`), greater first.
"""

# Numba runs this, with its own types for scalars.
# mypy: disable-error-code="arg-type, no-any-return, return-value"

import numpy as np
from numpy.typing import NDArray

from tokenizer.kernels.jit import inlined, kernel
from tokenizer.kernels.merging.merge_state import (
    HEAP_SIZE,
    HEAP_WIDTH,
    NUM_PAIRS,
    THRESHOLD,
    MergeState,
)

_LONG = np.uint64(0xFF)
"""Lowest byte of an order word whose token is longer than the word."""


@kernel
def order_word(token_bytes: NDArray[np.uint8], start: int, length: int) -> np.uint64:
    """Return a token's first 7 bytes, the first one highest, and its length or 0xFF.

    Words compare as the tokens' bytes do. Equal words mean equal tokens, unless the lowest byte is
    0xFF.
    """
    word = np.uint64(0)
    for i in range(7):
        byte = np.uint64(token_bytes[start + i]) if i < length else np.uint64(0)
        word = (word << np.uint64(8)) | byte
    return (word << np.uint64(8)) | (np.uint64(length) if length <= 7 else _LONG)


@kernel
def _compare_words(heap: NDArray[np.uint64], first: int, second: int) -> int:
    """Return 1 or -1 as the node at place `first` goes before or after; 0: words do not tell."""
    for i in range(3):
        one, two = heap[first + i], heap[second + i]
        if one != two:
            return 1 if one > two else -1
        if i > 0 and one & _LONG == _LONG:
            return 0
    return 0


@inlined
def _compare_tokens(state: MergeState, first: int, second: int) -> int:
    """Return -1, 0 or 1 as the first token's bytes are less than, equal to or greater."""
    length_1, length_2 = state.token_length[first], state.token_length[second]
    start_1, start_2 = state.token_start[first], state.token_start[second]
    for i in range(min(length_1, length_2)):
        byte_1, byte_2 = state.token_bytes[start_1 + i], state.token_bytes[start_2 + i]
        if byte_1 != byte_2:
            return 1 if byte_1 > byte_2 else -1
    if length_1 == length_2:
        return 0
    return 1 if length_1 > length_2 else -1


@inlined
def _compare_bytes(state: MergeState, first: int, second: int) -> int:
    """Compare two nodes of equal count by their bytes, where their words cannot decide."""
    pair_1, pair_2 = np.int64(state.heap[first + 3]), np.int64(state.heap[second + 3])
    left_1, left_2 = state.pair_left[pair_1], state.pair_left[pair_2]
    if left_1 != left_2:
        order = _compare_tokens(state, left_1, left_2)
        if order != 0:
            return order
    if state.heap[first + 2] != state.heap[second + 2]:
        return 1 if state.heap[first + 2] > state.heap[second + 2] else -1
    right_1, right_2 = state.pair_right[pair_1], state.pair_right[pair_2]
    return 0 if right_1 == right_2 else _compare_tokens(state, right_1, right_2)


@inlined
def _is_greater(state: MergeState, first: int, second: int) -> bool:
    """Tell whether the node at place `first` of the heap array goes before that at `second`."""
    order = _compare_words(state.heap, first, second)
    if order == 0:
        order = _compare_bytes(state, first, second)
    return order > 0


@kernel
def _swap(heap: NDArray[np.uint64], first: int, second: int) -> None:
    for i in range(HEAP_WIDTH):
        word = heap[first + i]
        heap[first + i] = heap[second + i]
        heap[second + i] = word


@inlined
def _sift_down(state: MergeState, node: int) -> None:
    heap = state.heap
    end = HEAP_WIDTH * state.sizes[HEAP_SIZE]
    place = HEAP_WIDTH * node
    while True:
        child = 2 * place + HEAP_WIDTH
        if child >= end:
            return
        other = child + HEAP_WIDTH
        if other < end:
            # The words decide nearly always. `_is_greater` here would pass the state on each time,
            # which made many ties five times as slow, though it is compiled into this function.
            order = _compare_words(heap, other, child)
            if order > 0 or (order == 0 and _compare_bytes(state, other, child) > 0):
                child = other
        order = _compare_words(heap, child, place)
        if order < 0 or (order == 0 and _compare_bytes(state, child, place) <= 0):
            return
        _swap(heap, child, place)
        place = child


@inlined
def _append(state: MergeState, pair: int) -> int:
    node = state.sizes[HEAP_SIZE]
    place = HEAP_WIDTH * node
    state.heap[place] = np.uint64(state.pair_count[pair])
    state.heap[place + 1] = state.token_order[state.pair_left[pair]]
    state.heap[place + 2] = state.token_order[state.pair_right[pair]]
    state.heap[place + 3] = np.uint64(pair)
    state.sizes[HEAP_SIZE] = node + 1
    return node


@inlined
def push_pair(state: MergeState, pair: int) -> None:
    """Add a pair of at least the threshold; others wait outside until they are needed."""
    node = _append(state, pair)
    while node > 0:
        parent = (node - 1) // 2
        if not _is_greater(state, HEAP_WIDTH * node, HEAP_WIDTH * parent):
            return
        _swap(state.heap, HEAP_WIDTH * node, HEAP_WIDTH * parent)
        node = parent


@kernel
def peek_best(state: MergeState) -> int:
    """Return the greatest pair, left in the heap; -1: no pair is left; -2: the heap is too small.

    Counts that fell since they were pushed are corrected at the top. When no pair of at least
    the threshold is left, the threshold falls to half of the highest count, so that the heap
    holds the few pairs that matter next and not millions of rare ones.
    """
    sizes = state.sizes
    num_unsorted = np.int64(0)
    while True:
        if sizes[HEAP_SIZE] == 0:
            if not _lower_threshold(state):
                return -1 if sizes[THRESHOLD] > 0 else -2
            num_unsorted = sizes[HEAP_SIZE] // 2
        node = np.int64(0)
        if num_unsorted > 0:
            num_unsorted -= 1
            node = num_unsorted
        else:
            pair = np.int64(state.heap[3])
            count = state.pair_count[pair]
            if np.uint64(count) == state.heap[0]:
                return pair
            if count >= sizes[THRESHOLD]:
                state.heap[0] = np.uint64(count)
            else:
                sizes[HEAP_SIZE] -= 1
                _swap(state.heap, np.int64(0), HEAP_WIDTH * sizes[HEAP_SIZE])
        # One call for both uses: compiled into this function, it takes two seconds to compile.
        _sift_down(state, node)


@kernel
def _lower_threshold(state: MergeState) -> bool:
    """Fill the empty heap with the most frequent pairs, unsorted; false: there are none or no room.

    No room leaves the threshold at 0; the caller enlarges the heap and tries again.
    """
    sizes = state.sizes
    highest = np.int64(0)
    for pair in range(sizes[NUM_PAIRS]):
        highest = max(highest, state.pair_count[pair])
    sizes[THRESHOLD] = max(np.int64(1), highest // 2)
    if highest == 0:
        return False
    for pair in range(sizes[NUM_PAIRS]):
        if state.pair_count[pair] >= sizes[THRESHOLD]:
            if HEAP_WIDTH * (sizes[HEAP_SIZE] + 1) > len(state.heap):
                sizes[HEAP_SIZE] = 0
                sizes[THRESHOLD] = 0
                return False
            _append(state, pair)
    return True
