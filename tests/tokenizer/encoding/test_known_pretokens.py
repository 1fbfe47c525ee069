"""The table of known pretokens: when it grows, and when an empty one takes its place."""

import numpy as np
import pytest

from tokenizer.encoding.known_pretokens import MAX_SLOTS, KnownPretokens
from tokenizer.kernels.encoding.encode_table import SLOT_WORDS


@pytest.mark.parametrize(
    ("max_slots", "num_entries", "slots_after"),
    [(2048, 63, 128), (2048, 64, 512), (256, 64, 256), (128, 79, 128), (128, 80, 128)],
)
def test_a_table_grows_when_half_full(max_slots: int, num_entries: int, slots_after: int) -> None:
    """Four times as large, up to the limit; the largest is emptied when five eighths are full."""
    known = KnownPretokens(np.uint16, num_slots=128, max_slots=max_slots)
    table = known.table
    table.num_entries[0] = num_entries
    known.make_room(table)
    assert len(known.table.slots) == SLOT_WORDS * slots_after
    is_kept = num_entries in (63, 79)
    assert (known.table is table) == is_kept
    assert known.table.num_entries[0] == (num_entries if is_kept else 0)
    assert (known.table.pool is table.pool) == (num_entries != 80)


def test_a_table_whose_pool_is_full_is_emptied() -> None:
    """When an eighth of the pool is left, which is what a window may need."""
    known = KnownPretokens(np.uint16, num_slots=128)
    table = known.table
    table.pool_size[0] = len(table.pool) // 8 * 7
    known.make_room(table)
    assert known.table is table
    table.pool_size[0] += 1
    known.make_room(table)
    assert known.table is not table
    assert (len(known.table.slots), known.table.pool_size[0]) == (SLOT_WORDS * 128, 0)


def test_a_table_that_is_no_longer_the_newest_makes_no_other() -> None:
    """Another thread was quicker."""
    known = KnownPretokens(np.uint16, num_slots=128)
    old = known.table
    old.num_entries[0] = 128
    known.make_room(old)
    newest = known.table
    known.make_room(old)
    assert known.table is newest


def test_a_table_begins_small_and_at_a_cache_line() -> None:
    """2 MiB, at most 64 MiB."""
    table = KnownPretokens(np.uint16).table
    assert (table.slots.nbytes, table.slots.ctypes.data % 64) == (2**21, 0)
    assert not table.slots.any()
    assert MAX_SLOTS * 32 == 2**26
