"""The hash table from a pair of token ids to the pair's index.

Its kernels take single arrays and not the whole state: a call with the state passes some 180 words,
which costs more than the look-up.
"""

import numpy as np
from numpy.typing import NDArray

from tokenizer.kernels.intrinsics import load_item
from tokenizer.kernels.jit import kernel

# Numba runs this, with its own types for scalars.
# mypy: disable-error-code="arg-type, no-any-return, return-value"

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2**64 over the golden ratio: Knuth, The Art of Computer Programming, vol. 3, section 6.4."""

_SHIFT = np.uint64(32)


@kernel
def pair_key(left: int, right: int) -> np.uint64:
    """Return the pair as one word, never zero."""
    return ((np.uint64(left) << _SHIFT) | np.uint64(right)) + np.uint64(1)


@kernel
def pair_place(table: NDArray[np.uint64], key: np.uint64) -> int:
    """Return the place of the key in the table, or the empty place where it belongs."""
    mask = np.int64(len(table) - 1)
    mixed = key * _GOLDEN
    place = np.int64((mixed ^ (mixed >> _SHIFT)) << np.uint64(1)) & mask
    found = load_item(table, place)
    while found != np.uint64(0) and found != key:
        place = (place + 2) & mask
        found = load_item(table, place)
    return place


@kernel
def find_pair(table: NDArray[np.uint64], left: int, right: int) -> int:
    """Return the index of a pair that exists."""
    return np.int64(load_item(table, pair_place(table, pair_key(left, right)) + 1))


@kernel
def enter_pair(table: NDArray[np.uint64], left: int, right: int, index: int) -> None:
    """Enter a pair that is not there yet."""
    key = pair_key(left, right)
    place = pair_place(table, key)
    table[place] = key
    table[place + 1] = np.uint64(index)
