"""Own pretoken to token ids in pure Python, for any pattern and with no compile."""

import heapq
from array import array
from collections.abc import Callable, Iterable, Mapping


def merge_pretoken(pretoken: bytes, ranks: Mapping[tuple[bytes, bytes], int]) -> list[bytes]:
    """Cut a pretoken into tokens: always the earliest learned merge next, at its leftmost place.

    This gives what applying all merges in order gives (`tokenizer.reference.encode`), in n log n
    steps: a heap of candidate pairs over a linked list. Scanning all pairs for each merge instead
    was twice as fast up to 8 bytes, slower from 16 on, and a hundred times at 256.

    >>> merge_pretoken(b"aaab", {(b"a", b"a"): 0, (b"a", b"b"): 1})
    [b'aa', b'ab']
    """
    tokens = [pretoken[index : index + 1] for index in range(len(pretoken))]
    end = len(tokens)
    following = array("q", range(1, end + 1))
    preceding = array("q", range(-1, end - 1))
    # An entry is a pair's rank and the place of its left token, as one number: half the memory of
    # a tuple. It is stale when the pair at that place has another rank by now; that pair then has
    # an entry of its own.
    heap = [
        rank * end + index
        for index in range(end - 1)
        if (rank := ranks.get((tokens[index], tokens[index + 1]))) is not None
    ]
    heapq.heapify(heap)
    while heap:
        rank, place = divmod(heapq.heappop(heap), end)
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
                    heapq.heappush(heap, new_rank * end + left)
    return [token for token in tokens if token]


class PretokenCache(dict[str, tuple[int, ...]]):
    """Map a pretoken to its ids, merged when first asked for; bounded.

    A very long pretoken goes to `merge_long`, which need not be fast to start.
    """

    MAX_ENTRIES = 1 << 18  # 41 MiB with words of 4 to 12 letters (measured)
    MAX_LENGTH = 64  # longer ones rarely come back
    LONG_LENGTH = 1 << 17  # half a second here, less than it takes to load the kernels

    def __init__(
        self,
        ids: Mapping[bytes, int],
        ranks: Mapping[tuple[bytes, bytes], int],
        merge_long: Callable[[bytes], Iterable[int]],
    ) -> None:
        super().__init__()
        self._ids = ids
        self._ranks = ranks
        self._merge_long = merge_long

    def __missing__(self, pretoken: str) -> tuple[int, ...]:
        data = pretoken.encode("utf-8", "surrogateescape")
        if len(pretoken) > self.LONG_LENGTH:
            return tuple(self._merge_long(data))
        token_ids = tuple([self._ids[token] for token in merge_pretoken(data, self._ranks)])
        if len(pretoken) <= self.MAX_LENGTH:
            if len(self) >= self.MAX_ENTRIES:
                self.clear()
            self[pretoken] = token_ids
        return token_ids
