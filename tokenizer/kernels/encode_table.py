"""Encoding pretokens by table look-up, with a bounded table that fills itself.

A slot is four words: the key's two (`pretoken_keys`), the first token ids packed, and
(place of all ids in `pool` << 8) | number of ids. Long pretokens are beside it, as in
`count_table`. When an array is full, the whole table is emptied: frequent pretokens are soon back,
and the ids never depend on it. What runs for every pretoken takes single arrays: to pass on a tuple
copies it, and counts references to all its arrays where it is not borrowed.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenizer.kernels.boundaries import SPECIAL_FLAG, SpecialArrays
from tokenizer.kernels.intrinsics import borrowed, load_item, prefetch, store_item, store_word
from tokenizer.kernels.jit import inlined, kernel
from tokenizer.kernels.listed_merges import merge_by_lists
from tokenizer.kernels.pretoken_keys import (
    MAX_KEY_BYTES,
    equal_bytes,
    long_hash,
    mix,
    short_key,
)
from tokenizer.kernels.ranked_merges import (
    SCAN_BYTES,
    Merges,
    merge_by_scanning,
)

# Numba runs this, with its own types for scalars.
# mypy: disable-error-code="arg-type, assignment, no-any-return, return-value"

SLOT_WORDS = 4
"""Words of a slot of the short table."""

WORD_BYTES = 8
"""Ids are written a word at a time, so the output needs room for one more word at its end."""

MAX_CACHED_BYTES = 255
"""Longer pretokens rarely come back, and their number of ids would not fit a slot's byte."""

NUM_SHORT, NUM_LONG, LONG_BYTES, POOL_SIZE, NUM_EMPTIED = range(5)
"""Places in `EncodeTable.sizes`."""

_BATCH = 64
_ZERO = np.uint64(0)
_COUNT_MASK, _POOL_SHIFT = np.uint64(0xFF), np.uint64(8)


class EncodeTable(NamedTuple):
    """The arrays of the table; a tuple, because kernels take it as one argument."""

    sizes: NDArray[np.int64]
    short: NDArray[np.uint64]
    long: NDArray[np.uint64]
    """(2 x slots,) hash of the bytes, index of the pretoken + 1."""

    long_offsets: NDArray[np.int64]
    long_values: NDArray[np.uint64]
    """For each long pretoken, (place of its ids in `pool` << 8) | number of ids."""

    long_data: NDArray[np.uint8]
    pool: NDArray[np.int32]
    """Token ids of pretokens that do not fit a slot."""

    scratch_ids: NDArray[np.int32]
    scratch_ranks: NDArray[np.int32]
    """(SCAN_BYTES,) ids and ranks of the pretoken that is being merged."""


@kernel
def _empty(table: EncodeTable) -> None:
    """Forget all pretokens."""
    sizes = table.sizes
    table.short[:] = _ZERO
    table.long[:] = _ZERO
    sizes[NUM_SHORT] = sizes[NUM_LONG] = sizes[LONG_BYTES] = sizes[POOL_SIZE] = 0
    sizes[NUM_EMPTIED] += 1


@kernel
def _enter_short(
    short: NDArray[np.uint64],
    pool: NDArray[np.int32],
    sizes: NDArray[np.int64],
    low: np.uint64,
    high: np.uint64,
    ids: NDArray[np.int32],
    size: int,
    out: NDArray[np.unsignedinteger],
    written: int,
) -> None:
    """Write the ids of a short pretoken to `out`, and enter it in the table, which has room."""
    for i in range(size):
        out[written + i] = ids[i]
    bits = np.uint64(8 * out.itemsize)
    num_inline = min(size, WORD_BYTES // out.itemsize)
    packed = _ZERO
    for i in range(num_inline - 1, -1, -1):
        packed = (packed << bits) | np.uint64(ids[i])
    place = sizes[POOL_SIZE]
    if size > num_inline:
        for i in range(size):
            pool[place + i] = ids[i]
        sizes[POOL_SIZE] = place + size
    mask = np.int64(len(short) - 1)
    slot = np.int64(mix(low, high)) * SLOT_WORDS & mask
    while short[slot + 1] != _ZERO:
        slot = (slot + SLOT_WORDS) & mask
    short[slot] = low
    short[slot + 1] = high
    short[slot + 2] = packed
    short[slot + 3] = (np.uint64(place) << _POOL_SHIFT) | np.uint64(size)
    sizes[NUM_SHORT] += 1


@inlined
def _merge_short(
    merges: Merges,
    data: NDArray[np.uint8],
    at: int,
    length: int,
    ids: NDArray[np.int32],
    ranks: NDArray[np.int32],
) -> int:
    """Write the token ids of a pretoken of at most `SCAN_BYTES` to `ids`; return their number."""
    return merge_by_scanning(
        *(merges.byte_ids, merges.byte_ranks, merges.slots, merges.filter_bits),
        *(merges.merged_ids, data, at, length, ids, ranks),
    )


@kernel
def _merge_long(
    table: EncodeTable,
    merges: Merges,
    data: NDArray[np.uint8],
    at: int,
    length: int,
    out: NDArray[np.unsignedinteger],
    written: int,
) -> int:
    """Merge a pretoken of any length into the output; return the ids written."""
    if length <= SCAN_BYTES:
        ids = table.scratch_ids
        size = _merge_short(merges, data, at, length, ids, table.scratch_ranks)
    else:
        ids = np.empty(length, np.int32)
        size = merge_by_lists(merges, data, at, length, ids)
    for i in range(size):
        out[written + i] = ids[i]
    return size


@kernel
def _encode_long(
    table: EncodeTable,
    merges: Merges,
    data: NDArray[np.uint8],
    at: int,
    length: int,
    out: NDArray[np.unsignedinteger],
    written: int,
) -> int:
    """Encode a pretoken of more than `MAX_KEY_BYTES`; return the ids written."""
    if length > MAX_CACHED_BYTES:
        return _merge_long(table, merges, data, at, length, out, written)
    sizes = table.sizes
    if (
        sizes[NUM_LONG] == len(table.long_values)
        or sizes[LONG_BYTES] + MAX_CACHED_BYTES > len(table.long_data)
        or sizes[POOL_SIZE] + MAX_CACHED_BYTES > len(table.pool)
    ):
        _empty(table)
    hashed = long_hash(data, at, length)
    mask = len(table.long) - 1
    slot = np.int64(hashed) << 1 & mask
    while table.long[slot] != _ZERO:
        index = np.int64(table.long[slot + 1]) - 1
        begin = table.long_offsets[index]
        if (
            table.long[slot] == hashed
            and table.long_offsets[index + 1] - begin == length
            and equal_bytes(data, at, table.long_data, begin, length)
        ):
            value = table.long_values[index]
            place, size = np.int64(value >> _POOL_SHIFT), np.int64(value & _COUNT_MASK)
            for i in range(size):
                out[written + i] = table.pool[place + i]
            return size
        slot = (slot + 2) & mask
    size = _merge_long(table, merges, data, at, length, out, written)
    index, begin, place = sizes[NUM_LONG], sizes[LONG_BYTES], sizes[POOL_SIZE]
    for i in range(length):
        table.long_data[begin + i] = data[at + i]
    for i in range(size):
        table.pool[place + i] = out[written + i]
    table.long[slot] = hashed
    table.long[slot + 1] = np.uint64(index + 1)
    table.long_offsets[index] = begin
    table.long_offsets[index + 1] = begin + length
    table.long_values[index] = (np.uint64(place) << _POOL_SHIFT) | np.uint64(size)
    sizes[NUM_LONG] += 1
    sizes[LONG_BYTES] += length
    sizes[POOL_SIZE] += size
    return size


@kernel
def _special_index(specials: SpecialArrays, data: NDArray[np.uint8], at: int, length: int) -> int:
    """Return the number of the special token that is data[at : at + length]."""
    for special in range(len(specials.offsets) - 1):
        begin = specials.offsets[special]
        if specials.offsets[special + 1] - begin == length and equal_bytes(
            data, at, specials.data, begin, length
        ):
            return special
    return -1


@kernel
def _make_keys(
    short: NDArray[np.uint64],
    data: NDArray[np.uint8],
    starts: NDArray[np.uint32],
    first: int,
    last: int,
    lows: NDArray[np.uint64],
    highs: NDArray[np.uint64],
    slots: NDArray[np.int64],
) -> None:
    """Write the keys of a batch and the slots where they belong, and prefetch those slots."""
    mask = np.int64(len(short) - 1)
    for i in range(first, last):
        start = load_item(starts, i)
        at = np.int64(start & ~SPECIAL_FLAG)
        length = np.int64(load_item(starts, i + 1) & ~SPECIAL_FLAG) - at
        if length > MAX_KEY_BYTES or start & SPECIAL_FLAG:
            low, high, slot = np.uint64(1), _ZERO, np.int64(0)  # a key that no slot has
        else:
            low, high = short_key(data, at, length)
            slot = np.int64(mix(low, high)) * SLOT_WORDS & mask
            prefetch(short, slot)
        store_item(lows, i - first, low)
        store_item(highs, i - first, high)
        store_item(slots, i - first, slot)


@kernel
def encode_window(
    table: EncodeTable,
    merges: Merges,
    specials: SpecialArrays,
    special_ids: NDArray[np.int32],
    separator: int,
    data: NDArray[np.uint8],
    starts: NDArray[np.uint32],
    count: int,
    out: NDArray[np.unsignedinteger],
    ends: NDArray[np.int64],
) -> tuple[int, int]:
    """Write the ids of what `mark_window` found to `out`; return (ids, separators).

    `out` has room for an id for each byte, and a word more. `ends` gets the places in `out` after
    each special token number `separator` (-1: none); it needs room for one place more.
    """
    table, merges, specials = borrowed(table), borrowed(merges), borrowed(specials)
    short, pool, sizes, ids = table.short, table.pool, table.sizes, table.scratch_ids
    max_short, max_pool = len(short) // (2 * SLOT_WORDS), len(pool) - MAX_CACHED_BYTES
    lows, highs = np.empty(_BATCH, np.uint64), np.empty(_BATCH, np.uint64)
    slots = np.empty(_BATCH, np.int64)
    mask, written, num_ends = np.int64(len(short) - 1), np.int64(0), np.int64(0)
    for first in range(0, count, _BATCH):
        last = min(first + _BATCH, count)
        _make_keys(short, data, starts, first, last, lows, highs, slots)
        for i in range(first, last):
            low, high = load_item(lows, i - first), load_item(highs, i - first)
            slot = load_item(slots, i - first)
            found = load_item(short, slot + 1)
            while found != _ZERO and (found != high or load_item(short, slot) != low):
                slot = (slot + SLOT_WORDS) & mask
                found = load_item(short, slot + 1)
            if found != _ZERO:
                value = load_item(short, slot + 3)
                size = np.int64(value & _COUNT_MASK)
                store_word(out, written, load_item(short, slot + 2))
                if size > WORD_BYTES // out.itemsize:
                    place = np.int64(value >> _POOL_SHIFT)
                    for j in range(size):
                        store_item(out, written + j, load_item(pool, place + j))
                written += size
                continue
            at = np.int64(starts[i] & ~SPECIAL_FLAG)
            length = np.int64(starts[i + 1] & ~SPECIAL_FLAG) - at
            if high != _ZERO:
                size = _merge_short(merges, data, at, length, ids, table.scratch_ranks)
                if sizes[NUM_SHORT] == max_short or sizes[POOL_SIZE] > max_pool:
                    _empty(table)
                _enter_short(short, pool, sizes, low, high, ids, size, out, written)
                written += size
            elif starts[i] & SPECIAL_FLAG == 0:
                written += _encode_long(table, merges, data, at, length, out, written)
            else:
                special = _special_index(specials, data, at, length)
                out[written] = special_ids[special]
                ends[num_ends] = written = written + 1
                num_ends += np.int64(special == separator)
    return written, num_ends
