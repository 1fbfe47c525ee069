"""The keys of pretokens: up to 15 bytes in two words; for longer ones a hash of their bytes."""

import numpy as np
from numpy.typing import NDArray

from tokenizer.kernels.intrinsics import load_item, load_word
from tokenizer.kernels.jit import kernel

# Numba runs this, with its own types for scalars.
# mypy: disable-error-code="arg-type, no-any-return, return-value"

MAX_KEY_BYTES = 15
"""The sixteenth byte of a key is the length, so no key of a pretoken is zero."""

_LENGTH_SHIFT = np.uint64(56)
_HALF = np.uint64(32)
_MULTIPLIER_1 = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER_2 = np.uint64(0xBF58476D1CE4E5B9)
"""2**64 over the golden ratio (Knuth, vol. 3, section 6.4), and the first constant of Stafford's
"Mix13" (as in SplitMix64); any odd numbers with mixed bits would do."""

_KEY_BITS = np.array(
    [2 ** (8 * count) - 1 for n in range(16) for count in (min(n, 8), max(n - 8, 0))], np.uint64
)
"""For each length, the bits of the first and of the second word that belong to the pretoken. A
look-up, because the processor cannot predict branches on the length."""


@kernel
def short_key(data: NDArray[np.uint8], at: int, length: int) -> tuple[np.uint64, np.uint64]:
    """Return the key of the pretoken of `length` (1 to 15) bytes at `at`; reads 16 bytes."""
    low = load_word(data, at) & load_item(_KEY_BITS, 2 * length)
    high = load_word(data, at + 8) & load_item(_KEY_BITS, 2 * length + 1)
    return low, high | (np.uint64(length) << _LENGTH_SHIFT)


@kernel
def short_key_within(data: NDArray[np.uint8], at: int, length: int) -> tuple[np.uint64, np.uint64]:
    """Return the same key, but read only the pretoken: for arrays without padding."""
    if at + 16 <= len(data):
        return short_key(data, at, length)
    low, high = np.uint64(0), np.uint64(length) << _LENGTH_SHIFT
    for i in range(length):
        bits = np.uint64(data[at + i]) << np.uint64(8 * (i & 7))
        if i < 8:
            low |= bits
        else:
            high |= bits
    return low, high


@kernel
def mix(low: np.uint64, high: np.uint64) -> np.uint64:
    """Return a hash of two words whose low bits depend on all bits of both."""
    mixed = (low * _MULTIPLIER_1) ^ (high * _MULTIPLIER_2)
    mixed ^= mixed >> _HALF
    mixed *= _MULTIPLIER_1
    return mixed ^ (mixed >> _HALF)


@kernel
def hash_key(low: np.uint64, high: np.uint64) -> np.uint64:
    """Return a hash of two words whose high bits depend on all bits of both.

    Cheaper than `mix`; "multiply-shift" for two words (Dietzfelbinger 1996, universal for random
    odd multipliers).
    """
    return low * _MULTIPLIER_1 + high * _MULTIPLIER_2


@kernel
def long_hash(data: NDArray[np.uint8], at: int, length: int) -> np.uint64:
    """Return a hash of `length` bytes; never zero."""
    hashed = np.uint64(length)
    words = length // 8
    for i in range(words):
        hashed = mix(hashed, load_word(data, at + 8 * i))
    tail = np.uint64(0)
    for i in range(8 * words, length):
        tail = (tail << np.uint64(8)) | np.uint64(data[at + i])
    return mix(hashed, tail) | np.uint64(1)


@kernel
def equal_bytes(
    first: NDArray[np.uint8], at: int, second: NDArray[np.uint8], place: int, length: int
) -> bool:
    """Tell whether `length` bytes are equal."""
    for i in range(length):  # noqa: SIM110 (Numba compiles no generator)
        if first[at + i] != second[place + i]:
            return False
    return True


@kernel
def equal_words(
    first: NDArray[np.uint8], at: int, second: NDArray[np.uint8], place: int, length: int
) -> bool:
    """Tell whether `length` bytes, 8 or more, are equal."""
    # The last word overlaps the one before.
    differs = load_word(first, at + length - 8) ^ load_word(second, place + length - 8)
    for i in range(0, length - 8, 8):
        differs |= load_word(first, at + i) ^ load_word(second, place + i)
    return differs == np.uint64(0)
