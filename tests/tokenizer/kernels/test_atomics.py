"""Atomic operations: what they return, and that no addition of several threads is lost."""

# Numba compiles the small functions here, and its types say nothing of them.
# mypy: disable-error-code="no-any-return, untyped-decorator"

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError
from numpy.typing import NDArray

from tokenizer.kernels.atomics import fetch_add, load_acquire, replace_if_equal, store_release
from tokenizer.kernels.untyped import Untyped

compiled: Untyped = njit


@compiled(nogil=True)
def add_often(numbers: NDArray[np.int64], times: int) -> int:
    """Add 1 at place 1 again and again; return the last number that was there before."""
    before = 0
    for _ in range(times):
        before = fetch_add(numbers, 1, 1)
    return before


@compiled(nogil=True)
def replace(words: NDArray[np.uint64], expected: int, word: int) -> bool:
    """Write the word at place 1 where the expected one is."""
    return replace_if_equal(words, 1, np.uint64(expected), np.uint64(word))


@compiled(nogil=True)
def store_and_load(words: NDArray[np.uint64], word: int) -> int:
    """Write a word at place 1 and read it."""
    store_release(words, 1, np.uint64(word))
    return load_acquire(words, 1)


def test_no_addition_is_lost() -> None:
    """Four threads that add 100,000 times each make 400,000; the neighbours stay."""
    numbers = np.zeros(3, np.int64)
    add_often(numbers[:2].copy(), 1)  # compiled before the threads start
    with ThreadPoolExecutor(4) as pool:
        before = list(pool.map(lambda _: add_often(numbers, 100_000), range(4)))
    assert numbers.tolist() == [0, 400_000, 0]
    assert max(before) == 399_999


def test_a_word_is_replaced_only_where_it_is_expected() -> None:
    """The first of two replacements wins, and the second is told."""
    words = np.zeros(3, np.uint64)
    assert replace(words, 0, 2**64 - 1)
    assert not replace(words, 0, 7)
    assert words.tolist() == [0, 2**64 - 1, 0]


def test_what_was_stored_is_loaded() -> None:
    """A word is read as it was written, with all its bits."""
    words = np.zeros(3, np.uint64)
    assert store_and_load(words, 2**63 + 5) == 2**63 + 5
    assert words.tolist() == [0, 2**63 + 5, 0]


def test_a_float_is_refused() -> None:
    """An index that is no integer is a typing error when the kernel is compiled."""

    @compiled
    def load(words: NDArray[np.uint64]) -> int:
        return load_acquire(words, 1.5)

    with pytest.raises(TypingError, match="must be an integer"):
        load(np.zeros(2, np.uint64))
