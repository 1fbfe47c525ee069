"""Count tables: the counts of a dictionary, at their limits and while they grow; sums of counts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenizer.samples import as_dict
from tokenizer.kernels.classify.boundaries import SPECIAL_FLAG
from tokenizer.kernels.counting.count_table import NUM_LONG, NUM_SHORT, CountTable, count_window
from tokenizer.training.count_tables import (
    add_flat,
    added_up,
    empty_table,
    enlarged,
    merge,
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
    assert as_dict(to_counts(counted(parts, special))) == expected


@given(parts=st.lists(dictionaries, min_size=1, max_size=3))
def test_tables_add_up(parts: list[dict[bytes, int]]) -> None:
    """The sum of tables holds the sums of the counts, 64 bits wide."""
    tables = [add_flat(empty_table(), PretokenCounts.from_dict(part)) for part in parts]
    expected: dict[bytes, int] = {}
    for part in parts:
        for pretoken, count in part.items():
            expected[pretoken] = expected.get(pretoken, 0) + count
    assert list(as_dict(to_counts(added_up(tables))).items()) == sorted(expected.items())


def test_a_table_grows_by_need() -> None:
    """Thousands of pretokens of each kind fit after growth, at a load of at most a half."""
    parts = [b"%d" % index for index in range(5000)]
    parts += [b"%d" % index * 8 for index in range(5000, 9000)]
    table = counted(parts)
    assert (int(table.sizes[NUM_SHORT]), int(table.sizes[NUM_LONG])) == (5000, 4000)
    assert len(table.short) // 4 >= 2 * 5000
    assert sum(array.nbytes for array in table) < 2**22
    assert as_dict(to_counts(table)) == dict.fromkeys(parts, 1)


@given(parts=st.lists(dictionaries, min_size=1, max_size=4))
def test_merge_adds_up(parts: list[dict[bytes, int]]) -> None:
    """Merged counts are sums, whatever the order of the parts."""
    expected: dict[bytes, int] = {}
    for part in parts:
        for pretoken, count in part.items():
            expected[pretoken] = expected.get(pretoken, 0) + count
    flat = [PretokenCounts.from_dict(part) for part in parts]
    assert list(as_dict(merge(flat)).items()) == sorted(expected.items())
    assert as_dict(merge(flat[::-1])) == expected


def test_merging_no_counts_gives_none() -> None:
    """No part is an empty count, and one part is itself."""
    assert len(merge([])) == 0
    counts = PretokenCounts.from_dict({b"a": 1})
    assert merge([counts]) is counts


def test_pretokens_that_share_a_beginning_or_hold_nul_are_kept_apart() -> None:
    """Zero bytes at the end, and long common beginnings, do not make pretokens equal."""
    counts = {b"a": 1, b"a\0": 2, b"a\0\0": 3, b"x" * 100: 4, b"x" * 100 + b"y": 5, b"x" * 99: 6}
    merged = merge([PretokenCounts.from_dict(counts), PretokenCounts.from_dict(counts)])
    assert as_dict(merged) == {pretoken: 2 * count for pretoken, count in counts.items()}
