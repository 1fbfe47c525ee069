"""Merging one long pretoken in time in proportion to its length.

For each rank, the places where its merge fits are a doubly linked list. Ranks are done in ascending
order; new pairs nearly always have higher ranks, because they were learned later.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenizer.kernels.encoding.ranked_merges import MAX_RANK, Merges, rank_of
from tokenizer.kernels.jit import kernel

# Numba runs this, with its own types for scalars.
# mypy: disable-error-code="arg-type, assignment, no-any-return, return-value"

NONE = -1
"""No place: the end of a list, or no neighbour."""


class PlaceLists(NamedTuple):
    """The lists: for each rank its two ends, for each place its rank and its neighbours."""

    heads: NDArray[np.int32]
    tails: NDArray[np.int32]
    ranks: NDArray[np.int32]
    next_places: NDArray[np.int32]
    last_places: NDArray[np.int32]


@kernel
def _append(lists: PlaceLists, place: int, rank: int) -> None:
    """Put a place at the end of a rank's list."""
    tail = lists.tails[rank]
    lists.ranks[place] = rank
    lists.next_places[place] = NONE
    lists.last_places[place] = tail
    lists.tails[rank] = place
    if tail == NONE:
        lists.heads[rank] = place
    else:
        lists.next_places[tail] = place


@kernel
def _remove(lists: PlaceLists, place: int) -> None:
    """Take a place out of its list, if it is in one."""
    rank = lists.ranks[place]
    if rank == MAX_RANK:
        return
    following, preceding = lists.next_places[place], lists.last_places[place]
    lists.ranks[place] = MAX_RANK
    if preceding == NONE:
        lists.heads[rank] = following
    else:
        lists.next_places[preceding] = following
    if following == NONE:
        lists.tails[rank] = preceding
    else:
        lists.last_places[following] = preceding


@kernel
def _sort_list(lists: PlaceLists, rank: int) -> None:
    """Sort a rank's places in ascending order, where they are not yet.

    Needed only for a token that two different merges make and that merges with itself.
    """
    count = np.int64(0)
    is_sorted = True
    place = lists.heads[rank]
    while place != NONE:
        is_sorted = is_sorted and place > lists.last_places[place]
        count += 1
        place = lists.next_places[place]
    if is_sorted:
        return
    places = np.empty(count, np.int32)
    for i in range(count):
        places[i] = lists.heads[rank]
        _remove(lists, places[i])
    places.sort()
    for i in range(count):
        _append(lists, places[i], rank)


@kernel
def merge_by_lists(
    merges: Merges, data: NDArray[np.uint8], at: int, length: int, ids: NDArray[np.int32]
) -> int:
    """Write the token ids of a pretoken to `ids`, which has room for `length`; return how many."""
    num_ranks = len(merges.merged_ids)
    lists = PlaceLists(
        np.full(num_ranks, NONE, np.int32),
        np.full(num_ranks, NONE, np.int32),
        np.full(length, MAX_RANK, np.int32),
        np.empty(length, np.int32),
        np.empty(length, np.int32),
    )
    before = np.arange(-1, length - 1).astype(np.int32)
    after = np.arange(1, length + 1).astype(np.int32)
    for i in range(length):
        ids[i] = merges.byte_ids[data[at + i]]
    for i in range(length - 1):
        rank = rank_of(merges.slots, merges.filter_bits, ids[i], ids[i + 1])
        if rank != MAX_RANK:
            _append(lists, i, rank)
    rank = np.int64(0)
    while rank < num_ranks:
        if lists.heads[rank] == NONE:
            rank += 1
            continue
        if merges.left_ids[rank] == merges.right_ids[rank]:
            _sort_list(lists, rank)
        rank = _merge_rank(merges, lists, rank, ids, before, after)
    size = np.int64(0)
    place = np.int64(0)
    while place < length:
        ids[size] = ids[place]
        size += 1
        place = after[place]
    return size


@kernel
def _merge_rank(
    merges: Merges,
    lists: PlaceLists,
    rank: int,
    ids: NDArray[np.int32],
    before: NDArray[np.int32],
    after: NDArray[np.int32],
) -> int:
    """Merge at all places of a rank; return the rank to do next."""
    token = merges.merged_ids[rank]
    lowest = rank + 1
    while lists.heads[rank] != NONE and lowest > rank:
        place = lists.heads[rank]
        right = after[place]
        end = after[right]
        left = before[place]
        _remove(lists, place)
        _remove(lists, right)
        ids[place] = token
        after[place] = end
        if left != NONE:
            _remove(lists, left)
            new_rank = rank_of(merges.slots, merges.filter_bits, ids[left], token)
            if new_rank != MAX_RANK:
                _append(lists, left, new_rank)
                lowest = min(lowest, new_rank)
        if end < len(after):
            before[end] = place
            new_rank = rank_of(merges.slots, merges.filter_bits, token, ids[end])
            if new_rank != MAX_RANK:
                _append(lists, place, new_rank)
                lowest = min(lowest, new_rank)
    return lowest
