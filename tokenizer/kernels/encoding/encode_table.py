"""The table of known pretokens and their token ids, which all encoding threads fill together.

A slot is four words: the key's two, then the value's two. A value is up to seven ids of 16 bits
(three of 32), packed from the lowest bits on, with their number in the highest byte of its second
word; where there are more, its first word is their place in `pool`. A pretoken too long for a key
(`pretoken_keys`) has the hash of its bytes as the key's first word; its value always points to
`pool`, where its bytes follow its ids.

No lock: a slot is entered once and never changed. A thread takes it by `RESERVED` as its second
word, writes the other three, and at last that second word, so whoever sees a key sees its value.
Two threads may enter the same pretoken in two slots, with the same ids. A table that has no room
takes no more; who encodes makes a larger one, or an empty one (`tokenizer.encoding.fast`).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenizer.kernels.atomics import fetch_add, load_acquire, replace_if_equal, store_release
from tokenizer.kernels.intrinsics import load_item, load_word, store_item, trailing_zeros
from tokenizer.kernels.jit import kernel
from tokenizer.kernels.pretoken_keys import equal_words, hash_key, long_hash, short_key

# Numba runs this, with its own types for scalars.
# mypy: disable-error-code="arg-type, assignment, no-any-return, return-value"

SLOT_WORDS = 4
"""Words of a slot."""

VALUE_BYTES = 16
"""Bytes of a value. Ids are written a value at a time, so outputs need room for one more."""

MAX_CACHED_BYTES = 254
"""Longer pretokens rarely come back, and their number of ids would not fit a value's byte."""

UNKNOWN = np.uint64(255 << 56)
"""Second word of the value of what is not in the table and not to be."""

SIZE_SHIFT = np.uint64(56)
"""The number of ids lies above it, in the second word of a value."""

_RESERVED = np.uint64(1)
_LONG = np.uint64(255 << 56)
"""Second word of the key of a long pretoken, with its length in the low bits. (That of a short one
has its length, 1 to 15, in the highest byte.)"""

_MAX_PROBES = 128
"""Slots that are looked at: a text made to collide is encoded without the table."""

_ZERO = np.uint64(0)
_SLOT_MASK = np.uint64(2**64 - SLOT_WORDS)
_WORD_BITS = 64
_IDS_MASK = np.uint64((1 << 56) - 1)


class EncodeTable(NamedTuple):
    """The arrays of the table; a tuple, because kernels take it as one argument."""

    slots: NDArray[np.uint64]
    """(SLOT_WORDS x slots,) a power of two."""

    num_entries: NDArray[np.int64]
    """(1,) slots that are taken."""

    pool: NDArray[np.unsignedinteger]
    """Token ids, of the type of the output."""

    pool_bytes: NDArray[np.uint8]
    """The same memory."""

    pool_size: NDArray[np.int64]
    """(1,) items of `pool` that are given away; more than it has where one did not fit."""


@kernel
def hash_shift(slots: NDArray[np.uint64]) -> np.uint64:
    """Return what `first_slot` needs to know of the table."""
    return np.uint64(_WORD_BITS - trailing_zeros(len(slots)))


@kernel
def first_slot(hashed: np.uint64, shift: np.uint64) -> int:
    """Return where in `slots` the search for a key begins: the hash's highest bits say it."""
    return np.int64((hashed >> shift) & _SLOT_MASK)


@kernel
def find_short(
    slots: NDArray[np.uint64], data: NDArray[np.uint8], at: int, length: int
) -> tuple[np.uint64, np.uint64]:
    """Return the value of a pretoken that has a key; (0, UNKNOWN) where it is not in the table."""
    low, high = short_key(data, at, length)
    mask = np.int64(len(slots) - 1)
    slot = first_slot(hash_key(low, high), hash_shift(slots))
    for _ in range(_MAX_PROBES):
        found = load_acquire(slots, slot + 1)
        if found == high and load_item(slots, slot) == low:
            return load_item(slots, slot + 2), load_item(slots, slot + 3)
        if found == _ZERO:
            break
        slot = (slot + SLOT_WORDS) & mask
    return _ZERO, UNKNOWN


@kernel
def _unpooled(
    pool: NDArray[np.unsignedinteger], first: np.uint64, second: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """Return the value with its ids in it, where they fit, of a value that points to `pool`."""
    if np.int64(second >> SIZE_SHIFT) >= VALUE_BYTES // pool.itemsize:
        return first, second
    place = np.int64(first)
    rest = load_word(pool, place + 8 // pool.itemsize)
    return load_word(pool, place), (rest & _IDS_MASK) | (second & ~_IDS_MASK)


@kernel
def find_long(
    table: EncodeTable, data: NDArray[np.uint8], at: int, length: int
) -> tuple[np.uint64, np.uint64]:
    """Return the value of a long pretoken; (0, UNKNOWN) where it is not in the table."""
    slots, pool = table.slots, table.pool
    mask = np.int64(len(slots) - 1)
    low, high = long_hash(data, at, length), _LONG | np.uint64(length)
    slot = first_slot(low, hash_shift(slots))
    for _ in range(_MAX_PROBES):
        found = load_acquire(slots, slot + 1)
        if found == high and load_item(slots, slot) == low:
            first, second = slots[slot + 2], slots[slot + 3]
            place = np.int64(first) + np.int64(second >> SIZE_SHIFT)
            if equal_words(data, at, table.pool_bytes, place * pool.itemsize, length):
                return _unpooled(pool, first, second)
        if found == _ZERO:
            break
        slot = (slot + SLOT_WORDS) & mask
    return _ZERO, UNKNOWN


@kernel
def _enter(
    slots: NDArray[np.uint64],
    num_entries: NDArray[np.int64],
    low: np.uint64,
    high: np.uint64,
    hashed: np.uint64,
    first: np.uint64,
    second: np.uint64,
) -> None:
    """Enter a key and its value, if there is room."""
    num_slots = len(slots) // SLOT_WORDS
    # More would make the searches long.
    if num_entries[0] >= num_slots - num_slots // 4:
        return
    mask = np.int64(len(slots) - 1)
    slot = first_slot(hashed, hash_shift(slots))
    for _ in range(_MAX_PROBES):
        if load_acquire(slots, slot + 1) == _ZERO and replace_if_equal(
            slots, slot + 1, _ZERO, _RESERVED
        ):
            fetch_add(num_entries, 0, 1)
            store_item(slots, slot, low)
            store_item(slots, slot + 2, first)
            store_item(slots, slot + 3, second)
            store_release(slots, slot + 1, high)
            return
        slot = (slot + SLOT_WORDS) & mask


@kernel
def _packed(ids: NDArray[np.int32], size: int, itemsize: int) -> tuple[np.uint64, np.uint64]:
    """Return the value of ids that fit one, with their number."""
    bits, per_word = np.uint64(8 * itemsize), 8 // itemsize
    first, second = _ZERO, _ZERO
    for i in range(min(size, per_word) - 1, -1, -1):
        first = (first << bits) | np.uint64(ids[i])
    for i in range(size - 1, per_word - 1, -1):
        second = (second << bits) | np.uint64(ids[i])
    return first, second | np.uint64(size) << SIZE_SHIFT


@kernel
def _pooled(
    pool: NDArray[np.unsignedinteger],
    pool_size: NDArray[np.int64],
    ids: NDArray[np.int32],
    size: int,
    more: int,
) -> tuple[np.uint64, np.uint64]:
    """Write ids to the pool, with room for `more` items after them; return their value.

    Where the pool has no room, the value is (0, UNKNOWN).
    """
    place = fetch_add(pool_size, 0, size + more)
    # A value is read from the pool at once, so one more has to fit.
    if place + size + more + VALUE_BYTES > len(pool):
        return _ZERO, UNKNOWN
    for i in range(size):
        pool[place + i] = ids[i]
    return np.uint64(place), np.uint64(size) << SIZE_SHIFT


@kernel
def enter_short(
    slots: NDArray[np.uint64],
    num_entries: NDArray[np.int64],
    pool: NDArray[np.unsignedinteger],
    pool_size: NDArray[np.int64],
    data: NDArray[np.uint8],
    at: int,
    length: int,
    ids: NDArray[np.int32],
    size: int,
) -> tuple[np.uint64, np.uint64]:
    """Enter a pretoken that has a key, and its ids, if there is room; return their value.

    The arguments are the table's arrays, because to pass on a tuple copies it.
    """
    if size < VALUE_BYTES // pool.itemsize:
        first, second = _packed(ids, size, pool.itemsize)
    else:
        first, second = _pooled(pool, pool_size, ids, size, np.int64(0))
    if second != UNKNOWN:
        low, high = short_key(data, at, length)
        _enter(slots, num_entries, low, high, hash_key(low, high), first, second)
    return first, second


@kernel
def enter_long(
    table: EncodeTable,
    data: NDArray[np.uint8],
    at: int,
    length: int,
    ids: NDArray[np.int32],
    size: int,
) -> tuple[np.uint64, np.uint64]:
    """Enter a long pretoken and its ids, if there is room; return their value."""
    itemsize = table.pool.itemsize
    num_items = (length + itemsize - 1) // itemsize
    first, second = _pooled(table.pool, table.pool_size, ids, size, num_items)
    if second != UNKNOWN:
        begin = (np.int64(first) + size) * itemsize
        for i in range(length):
            table.pool_bytes[begin + i] = data[at + i]
        low, high = long_hash(data, at, length), _LONG | np.uint64(length)
        _enter(table.slots, table.num_entries, low, high, low, first, second)
    return _unpooled(table.pool, first, second)


@kernel
def copy_entries(old: NDArray[np.uint64], new: EncodeTable) -> None:
    """Enter all that is in the slots of another table which has the same pool."""
    shift = hash_shift(old)
    # First those that a search finds at once: the commonest, which were entered early. In a larger
    # table they are in nobody's way, and are found at once again.
    for is_first in (True, False):
        for slot in range(0, len(old), SLOT_WORDS):
            high = load_acquire(old, slot + 1)
            if high > _RESERVED:
                low = old[slot]
                hashed = low if high >= _LONG else hash_key(low, high)
                if (first_slot(hashed, shift) == slot) == is_first:
                    entry = low, high, hashed, old[slot + 2], old[slot + 3]
                    _enter(new.slots, new.num_entries, *entry)
