"""The hash table that counts pretokens: short ones in its slots, long ones beside it.

A slot of the short table is four words: the key's two, the count, one unused, so that a slot never
lies in two cache lines. The long table has (hash, index + 1); the bytes of long pretokens are in
`long_data`. Linear probing, at most half full.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenizer.kernels.classify.boundaries import SPECIAL_FLAG
from tokenizer.kernels.intrinsics import borrowed, load_item, prefetch, store_item
from tokenizer.kernels.jit import kernel
from tokenizer.kernels.pretoken_keys import (
    MAX_KEY_BYTES,
    equal_bytes,
    long_hash,
    mix,
    short_key,
    short_key_within,
)

# Numba runs this, with its own types for scalars.
# mypy: disable-error-code="arg-type, no-any-return, return-value"

SLOT_WORDS = 4
"""Words of a slot of the short table."""

NUM_SHORT, NUM_LONG, LONG_BYTES = range(3)
"""Places in `CountTable.sizes`."""

_BATCH = 64
"""Pretokens whose slots are prefetched before the first is read; 32 and 128 were no better."""

_ZERO, _ONE = np.uint64(0), np.uint64(1)


class CountTable(NamedTuple):
    """The arrays of the table; a tuple, because kernels take it as one argument."""

    sizes: NDArray[np.int64]
    short: NDArray[np.uint64]
    long: NDArray[np.uint64]
    long_offsets: NDArray[np.int64]
    """(long pretokens + 1 or more,) where each begins in `long_data`."""

    long_counts: NDArray[np.int64]
    long_data: NDArray[np.uint8]


@kernel
def _add_short(
    short: NDArray[np.uint64],
    sizes: NDArray[np.int64],
    low: np.uint64,
    high: np.uint64,
    slot: int,
    count: int,
) -> None:
    """Add to the count of a key; `slot` is where the search for it starts.

    Takes arrays and not the table: to pass on a tuple counts references to all its arrays, which
    made counting four times slower.
    """
    mask = len(short) - 1
    while True:
        if short[slot] == low and short[slot + 1] == high:
            short[slot + 2] += np.uint64(count)
            return
        if short[slot + 1] == _ZERO:
            short[slot] = low
            short[slot + 1] = high
            short[slot + 2] = np.uint64(count)
            sizes[NUM_SHORT] += 1
            return
        slot = (slot + SLOT_WORDS) & mask


@kernel
def _short_slot(short: NDArray[np.uint64], low: np.uint64, high: np.uint64) -> int:
    """Return the word where the slot of a key begins."""
    return np.int64(mix(low, high) & np.uint64(len(short) // SLOT_WORDS - 1)) * SLOT_WORDS


@kernel
def _add_long(table: CountTable, data: NDArray[np.uint8], at: int, length: int, count: int) -> bool:
    """Add to the count of a long pretoken; without room return false and change nothing."""
    hashed = long_hash(data, at, length)
    mask = len(table.long) // 2 - 1
    slot = np.int64(hashed & np.uint64(mask))
    while table.long[2 * slot] != _ZERO:
        if table.long[2 * slot] == hashed:
            index = np.int64(table.long[2 * slot + 1]) - 1
            begin = table.long_offsets[index]
            if table.long_offsets[index + 1] - begin == length and equal_bytes(
                data, at, table.long_data, begin, length
            ):
                table.long_counts[index] += count
                return True
        slot = (slot + 1) & mask
    index = table.sizes[NUM_LONG]
    begin = table.sizes[LONG_BYTES]
    if index == len(table.long_counts) or begin + length > len(table.long_data):
        return False
    table.long[2 * slot] = hashed
    table.long[2 * slot + 1] = np.uint64(index + 1)
    table.long_offsets[index + 1] = begin + length
    table.long_counts[index] = count
    for i in range(length):
        table.long_data[begin + i] = data[at + i]
    table.sizes[NUM_LONG] = index + 1
    table.sizes[LONG_BYTES] = begin + length
    return True


@kernel
def _count_batch(
    short: NDArray[np.uint64],
    sizes: NDArray[np.int64],
    lows: NDArray[np.uint64],
    highs: NDArray[np.uint64],
    slots: NDArray[np.int64],
    filled: int,
) -> None:
    """Count one occurrence each of the first `filled` keys."""
    for j in range(filled):
        low, high, slot = load_item(lows, j), load_item(highs, j), load_item(slots, j)
        # The common case is written out: the call for all others is not inlined and costs more.
        if load_item(short, slot) == low and load_item(short, slot + 1) == high:
            store_item(short, slot + 2, load_item(short, slot + 2) + _ONE)
        else:
            _add_short(short, sizes, low, high, slot, 1)


@kernel
def count_window(
    table: CountTable, data: NDArray[np.uint8], starts: NDArray[np.uint32], begin: int, count: int
) -> int:
    """Count the pretokens that `mark_window` found, from number `begin` to `count`.

    Returns the number of the first one not counted: less than `count` when the table must be
    enlarged first.
    """
    table = borrowed(table)
    lows = np.empty(_BATCH, np.uint64)
    highs = np.empty(_BATCH, np.uint64)
    slots = np.empty(_BATCH, np.int64)
    short, sizes = table.short, table.sizes
    max_short = len(short) // (2 * SLOT_WORDS)
    for first in range(begin, count, _BATCH):
        if sizes[NUM_SHORT] + _BATCH > max_short:
            return first
        last = min(first + _BATCH, count)
        filled = np.int64(0)
        for i in range(first, last):
            start = load_item(starts, i)
            if start & SPECIAL_FLAG:
                continue
            at = np.int64(start)
            length = np.int64(load_item(starts, i + 1) & ~SPECIAL_FLAG) - at
            if length > MAX_KEY_BYTES:
                if not _add_long(table, data, at, length, 1):
                    _count_batch(short, sizes, lows, highs, slots, filled)
                    return i
                continue
            low, high = short_key(data, at, length)
            slot = _short_slot(short, low, high)
            prefetch(short, slot)
            store_item(lows, filled, low)
            store_item(highs, filled, high)
            store_item(slots, filled, slot)
            filled += 1
        _count_batch(short, sizes, lows, highs, slots, filled)
    return count


@kernel
def add_short_slots(table: CountTable, other: NDArray[np.uint64]) -> None:
    """Add all short pretokens of another table, for which there is room."""
    for place in range(0, len(other), SLOT_WORDS):
        if other[place + 1] != _ZERO:
            low, high = other[place], other[place + 1]
            slot = _short_slot(table.short, low, high)
            count = np.int64(other[place + 2])
            _add_short(table.short, table.sizes, low, high, slot, count)


@kernel
def add_entries(
    table: CountTable,
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    counts: NDArray[np.int64],
    num_entries: int,
) -> None:
    """Add pretokens in flat form, for all of which there is room."""
    for i in range(num_entries):
        at, length = offsets[i], offsets[i + 1] - offsets[i]
        if length > MAX_KEY_BYTES:
            _add_long(table, data, at, length, counts[i])
        else:
            low, high = short_key_within(data, at, length)
            slot = _short_slot(table.short, low, high)
            _add_short(table.short, table.sizes, low, high, slot, counts[i])


@kernel
def num_bytes_of(table: CountTable) -> int:
    """Return the bytes of all pretokens in the table."""
    total = table.sizes[LONG_BYTES]
    for place in range(1, len(table.short), SLOT_WORDS):
        total += np.int64(table.short[place] >> np.uint64(56))
    return total


@kernel
def flatten(
    table: CountTable,
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Write all pretokens, in no order, as `PretokenCounts` has them."""
    entry = np.int64(0)
    for place in range(0, len(table.short), SLOT_WORDS):
        low, high = table.short[place], table.short[place + 1]
        if high == _ZERO:
            continue
        at = offsets[entry]
        length = np.int64(high >> np.uint64(56))
        for i in range(length):
            word = low if i < 8 else high
            data[at + i] = np.uint8((word >> np.uint64(8 * (i & 7))) & np.uint64(0xFF))
        counts[entry] = np.int64(table.short[place + 2])
        offsets[entry + 1] = at + length
        entry += 1
    for index in range(table.sizes[NUM_LONG]):
        at = offsets[entry]
        begin, stop = table.long_offsets[index], table.long_offsets[index + 1]
        for i in range(stop - begin):
            data[at + i] = table.long_data[begin + i]
        counts[entry] = table.long_counts[index]
        offsets[entry + 1] = at + stop - begin
        entry += 1
