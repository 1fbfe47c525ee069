"""Prove the hash table of counts against a dictionary, at its limits and while it grows."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tokenizer.kernels.boundaries import SPECIAL_FLAG
from tokenizer.kernels.count_table import NUM_LONG, NUM_SHORT, CountTable, count_window
from tokenizer.kernels.pretoken_keys import MAX_KEY_BYTES, mix, short_key, short_key_within
from tokenizer.kernels.pretoken_order import first_words, gather, sort_ties
from tokenizer.training.count_tables import (
    add_flat,
    added_up,
    empty_table,
    enlarged,
    table_bytes,
    to_counts,
)
from tokenizer.training.counts import PretokenCounts

# Zero bytes and common beginnings are what a key of two words could mix up.
pretokens = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.text("ab\0", min_size=1, max_size=18).map(str.encode),
    st.integers(1, 40).map(lambda size: b"x" * size),
)
dictionaries = st.dictionaries(pretokens, st.integers(1, 2**40), max_size=40)


def counted(parts: list[bytes], special: frozenset[int] = frozenset()) -> CountTable:
    """Count a list of pretokens as `count_window` finds them; some places are special tokens."""
    data = np.frombuffer(b"".join(parts) + b"\xff" * 64, np.uint8)
    places = np.cumsum([0, *map(len, parts)]).astype(np.uint32)
    for index in special:
        places[index] |= SPECIAL_FLAG
    table = empty_table(num_slots=256, num_long=1, long_bytes=16)
    done = 0
    while (done := count_window(table, data, places, done, len(parts))) < len(parts):
        table = enlarged(table, len(data))
    return table


@given(parts=st.lists(pretokens, max_size=300), special=st.frozensets(st.integers(0, 299)))
def test_counting_equals_a_dictionary(parts: list[bytes], special: frozenset[int]) -> None:
    """Short and long pretokens are counted, special tokens are not, while the table grows."""
    special = frozenset(index for index in special if index < len(parts))
    expected: dict[bytes, int] = {}
    for index, part in enumerate(parts):
        if index not in special:
            expected[part] = expected.get(part, 0) + 1
    assert to_counts(counted(parts, special)).to_dict() == expected


@given(parts=st.lists(dictionaries, min_size=1, max_size=3))
def test_tables_add_up(parts: list[dict[bytes, int]]) -> None:
    """The sum of tables holds the sums of the counts, 64 bits wide."""
    tables = [add_flat(empty_table(), PretokenCounts.from_dict(part)) for part in parts]
    expected: dict[bytes, int] = {}
    for part in parts:
        for pretoken, count in part.items():
            expected[pretoken] = expected.get(pretoken, 0) + count
    assert list(to_counts(added_up(tables)).to_dict().items()) == sorted(expected.items())


def test_a_table_grows_by_need() -> None:
    """Thousands of pretokens of each kind fit after growth, at a load of at most a half."""
    parts = [b"%d" % index for index in range(5000)]
    parts += [b"%d" % index * 8 for index in range(5000, 9000)]
    table = counted(parts)
    assert (int(table.sizes[NUM_SHORT]), int(table.sizes[NUM_LONG])) == (5000, 4000)
    assert len(table.short) // 4 >= 2 * 5000
    assert table_bytes(table) < 2**22
    assert to_counts(table).to_dict() == dict.fromkeys(parts, 1)


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


@given(parts=st.lists(pretokens, max_size=60, unique=True))
def test_sorting_is_by_bytes(parts: list[bytes]) -> None:
    """Pretokens are sorted as byte strings are, whatever they share at their beginning."""
    data = np.frombuffer(b"".join(parts), np.uint8)
    offsets = np.cumsum([0, *map(len, parts)]).astype(np.int64)
    words = np.empty(len(parts), np.uint64)
    first_words(data, offsets, words)
    order = np.argsort(words)
    sort_ties(order, words, data, offsets)
    out, places = np.empty_like(data), np.zeros_like(offsets)
    gather(order, data, offsets, out, places)
    found = [out[places[i] : places[i + 1]].tobytes() for i in range(len(parts))]
    assert found == sorted(parts)
