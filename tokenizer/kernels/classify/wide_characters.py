"""Characters beyond ASCII: their class, and the bit masks of a block that holds some.

Each byte that is not UTF-8 is a character of class "other", as in
`bytes.decode("utf-8", "surrogateescape")`.
"""

import numpy as np
from numpy.typing import NDArray

from tokenizer.kernels.classify.classes import DIGIT, LETTER, OTHER, WHITESPACE
from tokenizer.kernels.classify.wide_blocks import classify_common, find_punctuation
from tokenizer.kernels.intrinsics import BLOCK_BYTES, trailing_zeros
from tokenizer.kernels.jit import kernel

# Numba runs this, with its own types for scalars.
# mypy: disable-error-code="arg-type, no-any-return, return-value"

_ZERO, _ONE, _TWO, _ALL = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(2**64 - 1)


@kernel
def wide_character(
    data: NDArray[np.uint8], at: int, end: int, classes: NDArray[np.uint8]
) -> tuple[int, int]:
    """Return (bytes, class) of the non-ASCII character at `at`; (1, OTHER) where it is invalid.

    Well-formed sequences: The Unicode Standard, table 3-7.
    """
    first = np.int64(data[at])
    if first < 0xC2 or first > 0xF4:
        return 1, OTHER
    length = 2 if first < 0xE0 else (3 if first < 0xF0 else 4)
    if at + length > end:
        return 1, OTHER
    code = first & (0x7F >> length)
    for i in range(1, length):
        byte = np.int64(data[at + i])
        if byte & 0xC0 != 0x80:
            return 1, OTHER
        code = (code << 6) | (byte & 0x3F)
    is_overlong = (length == 3 and code < 0x800) or (length == 4 and code < 0x10000)
    if is_overlong or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return 1, OTHER
    return length, np.int64(classes[code])


@kernel
def _twice(mask: np.uint64) -> np.uint64:
    """Set the bit after each that is set."""
    return mask | (mask << _ONE)


@kernel
def _three_times(mask: np.uint64) -> np.uint64:
    """Set the two bits after each that is set."""
    return mask | (mask << _ONE) | (mask << _TWO)


@kernel
def classify_wide(
    data: NDArray[np.uint8],
    begin: int,
    end: int,
    size: int,
    wide: np.uint64,
    classes: NDArray[np.uint8],
) -> tuple[int, np.uint64, np.uint64, np.uint64, np.uint64]:
    """Classify the non-ASCII characters of a block.

    Returns (bytes of the block up to a character that does not end in it, letters, digits,
    whitespace, last bytes of whitespace characters), the last four as masks.
    """
    letters = digits = whitespace = last_bytes = _ZERO
    # What does not end in the block is left to the loop below.
    ends_after_two = _ALL >> np.uint64(BLOCK_BYTES + 1 - size)
    ends_after_three = ends_after_two >> _ONE
    wide &= ~_three_times(find_punctuation(data, begin) & ends_after_three)
    if wide != _ZERO:
        two_letters, two_others, three_letters, three_others = classify_common(data, begin)
        letters = _twice(two_letters & ends_after_two)
        letters |= _three_times(three_letters & ends_after_three)
        others = _twice(two_others & ends_after_two)
        others |= _three_times(three_others & ends_after_three)
        wide &= ~(letters | others)
    while wide != _ZERO:
        place = trailing_zeros(wide)
        if place >= size:
            break
        length, kind = wide_character(data, begin + place, end, classes)
        if place + length > size:
            size = place
            break
        bits = ((_ONE << np.uint64(length)) - _ONE) << np.uint64(place)
        wide &= ~bits
        if kind == LETTER:
            letters |= bits
        elif kind == DIGIT:
            digits |= bits
        elif kind == WHITESPACE:
            whitespace |= bits
            last_bytes |= _ONE << np.uint64(place + length - 1)
    return size, letters, digits, whitespace, last_bytes


@kernel
def to_first_bytes(
    data: NDArray[np.uint8], begin: int, starts: np.uint64, last_bytes: np.uint64
) -> np.uint64:
    """Move starts at last bytes of wide whitespace (2 or 3 bytes long) to the first bytes."""
    wrong = starts & last_bytes
    starts &= ~last_bytes
    while wrong != _ZERO:
        place = trailing_zeros(wrong)
        wrong &= wrong - _ONE
        back = 1 if data[begin + place - 1] >= 0xC0 else 2
        starts |= _ONE << np.uint64(place - back)
    return starts
