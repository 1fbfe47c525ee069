"""The keys of pretokens: no two are equal, and their hashes spread."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tokenizer.kernels.pretoken_keys import (
    _MULTIPLIER_1,
    _MULTIPLIER_2,
    MAX_KEY_BYTES,
    long_hash,
    mix,
    short_key,
    short_key_within,
)


@given(pretoken=st.binary(min_size=1, max_size=MAX_KEY_BYTES), after=st.binary(max_size=16))
def test_a_key_is_the_bytes_and_the_length(pretoken: bytes, after: bytes) -> None:
    """The key's 16 bytes are the pretoken, zeros, and the length; what follows has no part."""
    padded = np.frombuffer(pretoken + after.ljust(16, b"\xff"), np.uint8)
    expected = int.from_bytes(pretoken.ljust(15, b"\0") + bytes([len(pretoken)]), "little")
    low, high = short_key(padded, 0, len(pretoken))
    assert int(low) | int(high) << 64 == expected
    assert short_key_within(np.frombuffer(pretoken, np.uint8), 0, len(pretoken)) == (low, high)


def test_hashes_of_short_words_spread() -> None:
    """The low bits of all two-letter words and all numbers to 9,999 collide as random ones do."""
    keys = [bytes([a, b]) for a in range(97, 123) for b in range(97, 123)]
    keys += [b"%d" % number for number in range(10_000)]
    slots = set()
    for key in keys:
        low, high = short_key(np.frombuffer(key.ljust(32, b"\0"), np.uint8), 0, len(key))
        slots.add(int(mix(low, high)) & 0x7FFF)
    expected = 2**15 * (1 - (1 - 2**-15) ** len(keys))
    assert len(slots) > 0.97 * expected


def test_hash_of_a_long_pretoken_is_never_zero() -> None:
    """Zero marks a free slot. For each 8 bytes there are 8 more whose mixture with them is zero."""
    first = int(mix(np.uint64(16), np.uint64(int.from_bytes(b"12345678", "little"))))
    second = first * int(_MULTIPLIER_1) * pow(int(_MULTIPLIER_2), -1, 2**64) % 2**64
    assert int(mix(np.uint64(first), np.uint64(second))) == 0
    pretoken = np.frombuffer(b"12345678" + second.to_bytes(8, "little"), np.uint8)
    assert int(long_hash(pretoken, 0, len(pretoken))) != 0
