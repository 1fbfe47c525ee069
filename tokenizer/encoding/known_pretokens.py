"""The pretokens that all threads of one encoder know, in a table that grows."""

import threading

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tokenizer.kernels.encoding.encode_table import SLOT_WORDS, EncodeTable, copy_entries

MIN_SLOTS, MAX_SLOTS = 2**16, 2**21
"""Slots of the table, 32 bytes each: at most 64 MB, for 1.5 million pretokens."""

_POOL_ITEMS = 2**23
"""Ids in the pool. Memory is taken as it is used: some 4 MB for the web's many scripts."""


_LINE_BYTES = 64


class KnownPretokens:
    """The newest table. A thread takes it for each window, and looks after its room afterwards."""

    def __init__(
        self, dtype: DTypeLike, *, num_slots: int = MIN_SLOTS, max_slots: int = MAX_SLOTS
    ) -> None:
        """Make an empty table for ids of this type."""
        self._dtype = dtype
        self._max_slots = max_slots
        self._lock = threading.Lock()
        self.table = _empty_table(dtype, num_slots)

    def make_room(self, table: EncodeTable) -> None:
        """Put a larger table in the place of this one when half full, an empty one at the limit.

        Other threads go on with the one that they have. What they enter in it after its entries
        were copied is forgotten, and entered again.
        """
        num_slots = len(table.slots) // SLOT_WORDS
        is_pool_full = table.pool_size[0] > len(table.pool) // 8 * 7
        is_largest = num_slots >= self._max_slots
        limit = num_slots * 5 // 8 if is_largest else num_slots // 2
        if table.num_entries[0] < limit and not is_pool_full:
            return
        with self._lock:
            if table is not self.table:
                return  # another thread did it
            if is_pool_full or is_largest:
                self.table = _empty_table(self._dtype, num_slots)
                return
            larger = _empty_slots(table, min(4 * num_slots, self._max_slots))
            copy_entries(table.slots, larger)
            self.table = larger


def _empty_table(dtype: DTypeLike, num_slots: int) -> EncodeTable:
    pool = np.empty(_POOL_ITEMS, dtype)
    return EncodeTable(
        slots=_aligned_zeros(SLOT_WORDS * num_slots),
        num_entries=np.zeros(1, np.int64),
        pool=pool,
        pool_bytes=pool.view(np.uint8),
        pool_size=np.zeros(1, np.int64),
    )


def _empty_slots(table: EncodeTable, num_slots: int) -> EncodeTable:
    """Return an empty table with the same pool."""
    return table._replace(
        slots=_aligned_zeros(SLOT_WORDS * num_slots), num_entries=np.zeros(1, np.int64)
    )


def _aligned_zeros(num_words: int) -> NDArray[np.uint64]:
    """Return zeros that begin at a cache line, so that no slot lies across two."""
    words = np.zeros(num_words + _LINE_BYTES // 8, np.uint64)
    begin = -words.ctypes.data % _LINE_BYTES // 8
    return words[begin : begin + num_words]
