"""Encoding a window: what is known by look-up, the rest by merging, and the ids written in order.

What runs for every pretoken takes single arrays: to pass on a tuple copies it, and counts
references to all its arrays where it is not borrowed.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenizer.kernels.atomics import load_acquire
from tokenizer.kernels.classify.boundaries import SPECIAL_FLAG, SpecialArrays, mark_piece
from tokenizer.kernels.encoding.encode_table import (
    MAX_CACHED_BYTES,
    SIZE_SHIFT,
    UNKNOWN,
    EncodeTable,
    enter_long,
    enter_short,
    find_long,
    find_short,
    first_slot,
    hash_shift,
)
from tokenizer.kernels.encoding.listed_merges import merge_by_lists
from tokenizer.kernels.encoding.ranked_merges import SCAN_BYTES, Merges, merge_by_scanning
from tokenizer.kernels.intrinsics import (
    borrowed,
    load_item,
    load_word,
    prefetch,
    store_item,
    store_word,
)
from tokenizer.kernels.jit import inlined, kernel
from tokenizer.kernels.pretoken_keys import (
    MAX_KEY_BYTES,
    equal_bytes,
    hash_key,
    short_key,
)

# Numba runs this, with its own types for scalars.
# mypy: disable-error-code="arg-type, assignment, no-any-return, return-value"

BATCH = 64
"""Pretokens whose slots are fetched before the first of them is looked up."""

PIECE_BYTES = 2**16
"""With its starts and ids some 150 KB, a part of any second-level cache."""

KEY_WORDS = 4
"""Words for each pretoken of a batch: the key's two, its first slot, one that is not used."""

_WORD_BYTES = 8
_MAX_KEY_BYTES = np.uint32(MAX_KEY_BYTES)
_ZERO, _NO_KEY = np.uint64(0), np.uint64(2)
"""No slot has a key whose second word is 2: there its highest byte is zero."""


class Workspace(NamedTuple):
    """What each thread has for itself."""

    keys: NDArray[np.uint64]
    """(KEY_WORDS x BATCH,) key and first slot of each pretoken of the batch."""

    ids: NDArray[np.int32]
    ranks: NDArray[np.int32]
    """(SCAN_BYTES,) ids and ranks of the pretoken that is being merged."""


@kernel
def _make_keys(
    slots: NDArray[np.uint64],
    shift: np.uint64,
    data: NDArray[np.uint8],
    starts: NDArray[np.uint32],
    first: int,
    number: int,
    keys: NDArray[np.uint64],
) -> None:
    """Write the keys of a batch and where their searches begin, and prefetch those slots.

    A special token, and a pretoken before one or without a key, gets a key that no slot has.
    """
    start = load_item(starts, first)
    for i in range(number):
        at = start
        start = load_item(starts, first + i + 1)
        # One comparison for all: where one of the two has the flag, the difference is very large.
        length = np.uint32(start - at)
        if length | (at & SPECIAL_FLAG) > _MAX_KEY_BYTES:
            store_item(keys, KEY_WORDS * i + 1, _NO_KEY)
            store_item(keys, KEY_WORDS * i + 2, _ZERO)
            continue
        low, high = short_key(data, np.int64(at), np.int64(length))
        slot = first_slot(hash_key(low, high), shift)
        prefetch(slots, slot)
        store_item(keys, KEY_WORDS * i, low)
        store_item(keys, KEY_WORDS * i + 1, high)
        store_item(keys, KEY_WORDS * i + 2, np.uint64(slot))


@kernel
def _span(starts: NDArray[np.uint32], number: int) -> tuple[int, int, bool]:
    """Return (place, length, whether it is a special token) of what starts there."""
    start = load_item(starts, number)
    at = np.int64(start & ~SPECIAL_FLAG)
    length = np.int64(load_item(starts, number + 1) & ~SPECIAL_FLAG) - at
    return at, length, start & SPECIAL_FLAG != 0


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
def _long_value(
    table: EncodeTable,
    merges: Merges,
    work: Workspace,
    data: NDArray[np.uint8],
    at: int,
    length: int,
) -> tuple[np.uint64, np.uint64]:
    """Return the value of a pretoken of `MAX_KEY_BYTES` to `MAX_CACHED_BYTES`; enter a new one."""
    low, high = find_long(table, data, at, length)
    if high == UNKNOWN:
        size = _merge_short(merges, data, at, length, work.ids, work.ranks)
        low, high = enter_long(table, data, at, length, work.ids, size)
    return low, high


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
def _merge_to_output(
    merges: Merges,
    work: Workspace,
    data: NDArray[np.uint8],
    at: int,
    length: int,
    out: NDArray[np.unsignedinteger],
    written: int,
) -> int:
    """Merge a pretoken of any length into the output; return the ids written."""
    if length <= SCAN_BYTES:
        ids = work.ids
        size = _merge_short(merges, data, at, length, work.ids, work.ranks)
    else:
        ids = np.empty(length, np.int32)
        size = merge_by_lists(merges, data, at, length, ids)
    for i in range(size):
        out[written + i] = ids[i]
    return size


@kernel
def _encode_piece(
    table: EncodeTable,
    merges: Merges,
    specials: SpecialArrays,
    work: Workspace,
    special_ids: NDArray[np.int32],
    separator: int,
    data: NDArray[np.uint8],
    starts: NDArray[np.uint32],
    count: int,
    out: NDArray[np.unsignedinteger],
    written: int,
    ends: NDArray[np.int64],
    num_ends: int,
) -> tuple[int, int]:
    """Write the ids of what `mark_piece` found to `out`; return (ids, separators) so far."""
    slots, pool, keys = table.slots, table.pool, work.keys
    shift, per_word = hash_shift(slots), _WORD_BYTES // out.itemsize
    for first in range(0, count, BATCH):
        number = min(BATCH, count - first)
        _make_keys(slots, shift, data, starts, first, number, keys)
        for i in range(number):
            key_low, key_high = load_item(keys, KEY_WORDS * i), load_item(keys, KEY_WORDS * i + 1)
            slot = np.int64(load_item(keys, KEY_WORDS * i + 2))
            if load_acquire(slots, slot + 1) == key_high and load_item(slots, slot) == key_low:
                low, high = load_item(slots, slot + 2), load_item(slots, slot + 3)
            else:
                at, length, is_special = _span(starts, first + i)
                if is_special or length > MAX_CACHED_BYTES:
                    low, high = _ZERO, UNKNOWN
                elif length > MAX_KEY_BYTES:
                    low, high = _long_value(table, merges, work, data, at, length)
                else:
                    low, high = find_short(slots, data, at, length)
                    if high == UNKNOWN:
                        size = _merge_short(merges, data, at, length, work.ids, work.ranks)
                        low, high = enter_short(
                            *(slots, table.num_entries, pool, table.pool_size),
                            *(data, at, length, work.ids, size),
                        )
            size = np.int64(high >> SIZE_SHIFT)
            store_word(out, written, low)
            store_word(out, written + per_word, high)
            if size >= 2 * per_word:
                if high != UNKNOWN:
                    for j in range(0, size, per_word):
                        store_word(out, written + j, load_word(pool, np.int64(low) + j))
                else:
                    at, length, is_special = _span(starts, first + i)
                    if is_special:
                        special = _special_index(specials, data, at, length)
                        out[written], size = special_ids[special], np.int64(1)
                        ends[num_ends] = written + 1
                        num_ends += np.int64(special == separator)
                    else:
                        size = _merge_to_output(merges, work, data, at, length, out, written)
            written += size
    return written, num_ends


@kernel
def encode_window(
    table: EncodeTable,
    merges: Merges,
    specials: SpecialArrays,
    work: Workspace,
    special_ids: NDArray[np.int32],
    separator: int,
    data: NDArray[np.uint8],
    length: int,
    piece_bytes: int,
    classes: NDArray[np.uint8],
    starts: NDArray[np.uint32],
    out: NDArray[np.unsignedinteger],
    ends: NDArray[np.int64],
) -> tuple[int, int]:
    """Write the ids of data[:length] to `out`; return (ids, separators).

    By pieces of about `piece_bytes`, so that all that belongs to one stays in the cache. `starts`
    and `data` have room as `mark_segment` says, `out` for an id for each byte, and `VALUE_BYTES`
    more. `ends` gets the places in `out` after each special token number `separator` (-1: none);
    it needs room for one place more.
    """
    table, merges = borrowed(table), borrowed(merges)
    specials, work = borrowed(specials), borrowed(work)
    position, written, num_ends = np.int64(0), np.int64(0), np.int64(0)
    while position < length:
        count, position = mark_piece(data, position, length, piece_bytes, classes, specials, starts)
        written, num_ends = _encode_piece(
            *(table, merges, specials, work, special_ids, separator),
            *(data, starts, count, out, written, ends, num_ends),
        )
    return written, num_ends
