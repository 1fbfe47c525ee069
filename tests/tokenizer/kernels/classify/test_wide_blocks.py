"""The rows of common characters against the table of all classes."""

# Numba compiles the small functions here, and its types say nothing of them.
# mypy: disable-error-code="no-any-return, untyped-decorator"

from itertools import product

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

from tokenizer.kernels.classify.classes import LETTER, class_table
from tokenizer.kernels.classify.wide_blocks import (
    PUNCTUATION,
    THREE_BYTES,
    TWO_BYTES,
    Row,
    classify_common,
    find_punctuation,
)
from tokenizer.kernels.intrinsics import BLOCK_BYTES
from tokenizer.kernels.untyped import Untyped

compiled: Untyped = njit
ROWS = [(row, 2) for row in TWO_BYTES] + [(row, 3) for row in THREE_BYTES]
ALL_ROWS = [*ROWS, (PUNCTUATION, 3)]


def characters(row: Row, length: int) -> list[str]:
    """Return all characters of a row; a sequence that is not UTF-8 raises."""
    ends = (row.first, row.second, row.third)[:length]
    sequences = product(*(range(first, last + 1) for first, last in ends))
    return [bytes(sequence).decode() for sequence in sequences]


@compiled
def common_masks(data: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Call the intrinsic at the array's begin."""
    return classify_common(data, 0)


@compiled
def punctuation_mask(data: NDArray[np.uint8]) -> int:
    """Call the intrinsic at the array's begin."""
    return find_punctuation(data, 0)


@pytest.mark.parametrize(("row", "length"), ALL_ROWS)
def test_a_row_has_one_class(row: Row, length: int) -> None:
    """All characters of a row have its class, as `regex` sees them."""
    codes = [ord(character) for character in characters(row, length)]
    assert set(class_table()[codes].tolist()) == {row.kind}


@pytest.mark.parametrize(("row", "length"), ROWS)
def test_masks_show_the_first_bytes(row: Row, length: int) -> None:
    """The first byte of each character of a row is in its mask, and in no other."""
    place = 2 * (length - 2) + (row.kind != LETTER)
    for character in characters(row, length):
        data = f"a{character}b{character}".encode().ljust(BLOCK_BYTES + 2)
        masks = [int(mask) for mask in common_masks(np.frombuffer(data, np.uint8))]
        expected = [0, 0, 0, 0]
        expected[place] = 2 | 1 << (length + 2)
        assert masks == expected, character


def test_other_bytes_are_in_no_mask() -> None:
    """Half characters, characters without a row and ASCII are left alone."""
    parts = [b"\xc3", b"\xe2\x80", b"\xe4", b"\xe0\xa4\x85", b"\xc2\xa0", b"\xe2\x80\xa8", b"\xb8"]
    data = b" a".join([*parts, b"\xd0 \xb0", b"\xf0\x9f\x91\x8d"]).ljust(BLOCK_BYTES + 2)
    assert [int(mask) for mask in common_masks(np.frombuffer(data, np.uint8))] == [0, 0, 0, 0]


def test_punctuation_is_found() -> None:
    """The first byte of each sign is in the mask, those of its neighbours are not."""
    for sign in characters(PUNCTUATION, 3):
        data = f"a{sign}\u200f{sign}\u2028\u20ac".encode().ljust(BLOCK_BYTES + 2)
        assert punctuation_mask(np.frombuffer(data, np.uint8)) == 1 << 1 | 1 << 7, sign
