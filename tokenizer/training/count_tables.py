"""Count tables: made empty, enlarged, added up; and the sums of several counts."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokenizer.kernels.counting.count_table import (
    LONG_BYTES,
    NUM_LONG,
    NUM_SHORT,
    SLOT_WORDS,
    CountTable,
    add_entries,
    add_short_slots,
    flatten,
    num_bytes_of,
)
from tokenizer.kernels.counting.pretoken_order import first_words, gather, sort_ties
from tokenizer.kernels.pretoken_keys import MAX_KEY_BYTES
from tokenizer.training.counts import PretokenCounts, read_part

_FIRST_SLOTS = 2**15
_FIRST_LONG = 2**10
_FIRST_LONG_BYTES = 2**15
"""Room of a new table: slots for short pretokens, long pretokens, and bytes of those."""


def empty_table(
    *,
    num_slots: int = _FIRST_SLOTS,
    num_long: int = _FIRST_LONG,
    long_bytes: int = _FIRST_LONG_BYTES,
) -> CountTable:
    """Return an empty table; `num_slots` is a power of two, at least twice the short pretokens."""
    # NumPy asks for huge pages for arrays of 4 MB and more before they are first touched.
    return CountTable(
        sizes=np.zeros(3, np.int64),
        short=np.zeros(SLOT_WORDS * num_slots, np.uint64),
        long=np.zeros(4 * num_long, np.uint64),
        long_offsets=np.zeros(num_long + 1, np.int64),
        long_counts=np.zeros(num_long, np.int64),
        long_data=np.empty(long_bytes, np.uint8),
    )


def with_room(table: CountTable, *, num_short: int, num_long: int, long_bytes: int) -> CountTable:
    """Return the table, or a larger copy, with room for so much in all."""
    slots = len(table.short) // SLOT_WORDS
    new_slots = _doubled(slots, 2 * num_short)
    new_long = _doubled(len(table.long_counts), num_long)
    new_bytes = _doubled(len(table.long_data), long_bytes)
    if (new_slots, new_long, new_bytes) == (slots, len(table.long_counts), len(table.long_data)):
        return table
    larger = empty_table(num_slots=new_slots, num_long=new_long, long_bytes=new_bytes)
    _add_table(larger, table)
    return larger


def enlarged(table: CountTable, next_bytes: int) -> CountTable:
    """Return the table with more room where little is left, and for `next_bytes` more bytes."""
    return with_room(
        table,
        num_short=2 * int(table.sizes[NUM_SHORT]),
        num_long=2 * int(table.sizes[NUM_LONG]) + 1,
        long_bytes=2 * int(table.sizes[LONG_BYTES]) + next_bytes,
    )


def added_up(tables: Sequence[CountTable]) -> CountTable:
    """Return one table with the sums of all; the largest one is used again."""
    total, *others = sorted(tables, key=lambda table: -int(table.sizes[NUM_SHORT]))
    for other in others:
        sizes = total.sizes + other.sizes
        total = with_room(
            total,
            num_short=int(sizes[NUM_SHORT]),
            num_long=int(sizes[NUM_LONG]),
            long_bytes=int(sizes[LONG_BYTES]),
        )
        _add_table(total, other)
    return total


def add_flat(table: CountTable, counts: PretokenCounts) -> CountTable:
    """Add counts in flat form; return the table, or a larger copy."""
    lengths = np.diff(counts.offsets)
    is_long = lengths > MAX_KEY_BYTES
    table = with_room(
        table,
        num_short=int(table.sizes[NUM_SHORT] + len(counts) - is_long.sum()),
        num_long=int(table.sizes[NUM_LONG] + is_long.sum()),
        long_bytes=int(table.sizes[LONG_BYTES] + lengths[is_long].sum()),
    )
    add_entries(table, counts.data, counts.offsets, counts.counts, len(counts))
    return table


def to_counts(table: CountTable) -> PretokenCounts:
    """Return the counts in flat form, sorted by bytes."""
    num_entries = int(table.sizes[NUM_SHORT] + table.sizes[NUM_LONG])
    offsets = np.zeros(num_entries + 1, np.int64)
    counts = np.empty(num_entries, np.int64)
    data = np.empty(num_bytes_of(table), np.uint8)
    flatten(table, data, offsets, counts)
    return sorted_counts(data, offsets, counts)


def sorted_counts(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], counts: NDArray[np.int64]
) -> PretokenCounts:
    """Return counts of distinct pretokens sorted by bytes."""
    words = np.empty(len(counts), np.uint64)
    first_words(data, offsets, words)
    order = np.argsort(words)
    sort_ties(order, words, data, offsets)
    sorted_data, sorted_offsets = np.empty_like(data), np.zeros_like(offsets)
    gather(order, data, offsets, sorted_data, sorted_offsets)
    return PretokenCounts(data=sorted_data, offsets=sorted_offsets, counts=counts[order])


def merge(parts: Iterable[PretokenCounts]) -> PretokenCounts:
    """Add up counts of several texts; the order of `parts` makes no difference.

    It takes the parts one by one, so memory is bounded by the distinct pretokens of all.
    """
    iterator = iter(parts)
    first = next(iterator, None)
    second = next(iterator, None)
    if first is not None and second is None:
        return first
    table = empty_table()
    for part in (first, second):
        table = table if part is None else add_flat(table, part)
    for part in iterator:
        table = add_flat(table, part)
    return to_counts(table)


def read_counts(paths: Sequence[str | Path]) -> PretokenCounts:
    """Read one or more files of `write_counts` and add them up.

    Raises:
        ValueError: No path is given, or a file has other columns or a count below 1.
    """
    if not paths:
        raise ValueError("read_counts needs at least one file")
    return merge(read_part(path) for path in paths)


def _doubled(size: int, wanted: int) -> int:
    while size < wanted:
        size *= 2
    return size


def _add_table(table: CountTable, other: CountTable) -> None:
    add_short_slots(table, other.short)
    add_entries(
        table, other.long_data, other.long_offsets, other.long_counts, int(other.sizes[NUM_LONG])
    )
