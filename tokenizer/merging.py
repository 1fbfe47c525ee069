"""Own the ranked merging of one pretoken in pure Python, for any pattern and with no compile.

Both functions apply, again and again, the earliest learned merge that fits, at its leftmost place,
which gives what applying all merges in order gives (`tokenizer.reference.encode`).
"""

import heapq
from collections.abc import Mapping

LONG_PRETOKEN = 128
"""Bytes from which on the heap is faster than scanning all pairs for every merge (measured)."""


def merge_pretoken(pretoken: bytes, ranks: Mapping[tuple[bytes, bytes], int]) -> list[bytes]:
    """Cut a pretoken into tokens; near-linear for a long one.

    >>> merge_pretoken(b"aaab", {(b"a", b"a"): 0, (b"a", b"b"): 1})
    [b'aa', b'ab']
    """
    if len(pretoken) >= LONG_PRETOKEN:
        return merge_long_pretoken(pretoken, ranks)
    tokens = [pretoken[index : index + 1] for index in range(len(pretoken))]
    never = len(ranks)
    while len(tokens) > 1:
        rank, place = min(
            (ranks.get((tokens[index], tokens[index + 1]), never), index)
            for index in range(len(tokens) - 1)
        )
        if rank == never:
            break
        tokens[place : place + 2] = [tokens[place] + tokens[place + 1]]
    return tokens


def merge_long_pretoken(pretoken: bytes, ranks: Mapping[tuple[bytes, bytes], int]) -> list[bytes]:
    """Do the same with a heap of candidate pairs over a linked list: n log n instead of n²."""
    tokens: list[bytes] = [pretoken[index : index + 1] for index in range(len(pretoken))]
    end = len(tokens)
    following = list(range(1, end + 1))
    preceding = list(range(-1, end - 1))
    # An entry names the place of a pair's left token and the pair's rank. It is stale when the pair
    # at that place has another rank by now: then that pair has an entry of its own.
    heap = [
        (rank, index)
        for index in range(end - 1)
        if (rank := ranks.get((tokens[index], tokens[index + 1]))) is not None
    ]
    heapq.heapify(heap)
    while heap:
        rank, place = heapq.heappop(heap)
        right = following[place]
        if not tokens[place] or right == end or ranks.get((tokens[place], tokens[right])) != rank:
            continue
        tokens[place] += tokens[right]
        tokens[right] = b""  # merged into its left neighbour
        following[place] = after = following[right]
        if after < end:
            preceding[after] = place
        for left in (preceding[place], place):
            right = following[left] if left >= 0 else end
            if right < end:
                new_rank = ranks.get((tokens[left], tokens[right]))
                if new_rank is not None:
                    heapq.heappush(heap, (new_rank, left))
    return [token for token in tokens if token]
