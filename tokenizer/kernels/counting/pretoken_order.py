"""Sorting pretokens by their bytes: by their first words, and by the rest where those are equal."""

import numpy as np
from numpy.typing import NDArray

from tokenizer.kernels.jit import kernel

# Numba runs this, with its own types for scalars.
# mypy: disable-error-code="arg-type, no-any-return, return-value"

_WORD_BYTES = 8


@kernel
def first_words(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], words: NDArray[np.uint64]
) -> None:
    """Write each pretoken's first 8 bytes, the first one highest, zeros after its end."""
    for i in range(len(words)):
        word = np.uint64(0)
        for place in range(offsets[i], offsets[i] + _WORD_BYTES):
            byte = np.uint64(data[place]) if place < offsets[i + 1] else np.uint64(0)
            word = (word << np.uint64(8)) | byte
        words[i] = word


@kernel
def _is_less(data: NDArray[np.uint8], offsets: NDArray[np.int64], one: int, two: int) -> bool:
    """Tell whether pretoken `one` comes before `two`; their first 8 bytes are known to be equal."""
    begin_1, begin_2 = offsets[one], offsets[two]
    length_1, length_2 = offsets[one + 1] - begin_1, offsets[two + 1] - begin_2
    for i in range(_WORD_BYTES, min(length_1, length_2)):
        if data[begin_1 + i] != data[begin_2 + i]:
            return data[begin_1 + i] < data[begin_2 + i]
    return length_1 < length_2


@kernel
def _sift_down(
    order: NDArray[np.int64],
    start: int,
    node: int,
    size: int,
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
) -> None:
    """Restore the heap order[start : start + size], greatest first, below `node`."""
    while 2 * node + 1 < size:
        child = 2 * node + 1
        if child + 1 < size and _is_less(
            data, offsets, order[start + child], order[start + child + 1]
        ):
            child += 1
        if not _is_less(data, offsets, order[start + node], order[start + child]):
            return
        held = order[start + node]
        order[start + node] = order[start + child]
        order[start + child] = held
        node = child


@kernel
def sort_ties(
    order: NDArray[np.int64],
    words: NDArray[np.uint64],
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
) -> None:
    """Sort each run of `order` with equal words by the rest of the bytes (heapsort in place)."""
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and words[order[stop]] == words[order[start]]:
            stop += 1
        size = stop - start
        for node in range(size // 2 - 1, -1, -1):
            _sift_down(order, start, node, size, data, offsets)
        for last in range(size - 1, 0, -1):
            held = order[start]
            order[start] = order[start + last]
            order[start + last] = held
            _sift_down(order, start, 0, last, data, offsets)
        start = stop


@kernel
def gather(
    order: NDArray[np.int64],
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    data_out: NDArray[np.uint8],
    offsets_out: NDArray[np.int64],
) -> None:
    """Write the pretokens in the given order."""
    at = np.int64(0)
    for i in range(len(order)):
        for place in range(offsets[order[i]], offsets[order[i] + 1]):
            data_out[at] = data[place]
            at += 1
        offsets_out[i + 1] = at
