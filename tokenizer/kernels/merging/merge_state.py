"""The arrays of the merge loop and their layout.

The algorithm is that of Sennrich et al. 2016, section 3.2, done incrementally:

- `cells`: every distinct pretoken's bytes, one cell each, with `SEPARATOR` around each pretoken. A
  token of n bytes has its id in its first and its last cell, so that both neighbours of a token
  are found in one step; cells between may hold anything but never look like the start of a token.
- A *pair* is two adjacent token ids. Every occurrence of a pair is made by one merge, the one that
  makes the newer of its two tokens (or is there at the start), so all its positions are one
  contiguous *run* in the append-only `pool`. Positions that later merges consumed stay in the run
  and are found stale when visited.
- A pool entry is (cell index << 32) | count of the pretoken, so that a visit needs no look-up;
  counts of 2**32 - 1 and more are looked up.
- Once a pair is made, its count only falls. So `heap` may hold counts that are too high; they are
  corrected when they come to the top.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SEPARATOR = -1
"""The cell between two pretokens."""

CONSUMED = -2
"""In the first cell of a token that became the right part of a longer one."""

HEAP_WIDTH = 4
"""Words of a heap node: count, order of the left token, order of the right, pair index."""

CELL_SHIFT = np.uint64(32)
COUNT_MASK = np.uint64(0xFFFFFFFF)
"""A pool entry is (cell index << CELL_SHIFT) | count; a count of COUNT_MASK is looked up."""

NUM_TOKENS, NUM_PAIRS, POOL_SIZE, HEAP_SIZE, THRESHOLD, BYTES_SIZE, NUM_MERGES = range(7)
"""Places in `MergeState.sizes`."""

DONE, EXHAUSTED, POOL_FULL, PAIRS_FULL, HEAP_FULL, BYTES_FULL = range(6)
"""What `run_merges` and `number_pairs` return: done, no pair left, or which array is full."""


class MergeState(NamedTuple):
    """All arrays of the merge loop; a tuple, because kernels take it as one argument."""

    sizes: NDArray[np.int64]
    """How much of the arrays below is in use, by the constants above."""

    cells: NDArray[np.int32]
    """Token ids, in the layout above."""

    word_offsets: NDArray[np.int64]
    """(words + 1,) bytes before each pretoken; its first cell is at word_offsets[i] + i + 1."""

    word_counts: NDArray[np.int64]
    """(words,) how often each pretoken occurs."""

    token_length: NDArray[np.int64]
    """(tokens,) bytes of each token."""

    token_start: NDArray[np.int64]
    """(tokens,) where the token's bytes begin in `token_bytes`."""

    token_bytes: NDArray[np.uint8]
    """The bytes of all tokens."""

    token_order: NDArray[np.uint64]
    """(tokens,) larger wins a tie; equal means: compare the bytes."""

    table: NDArray[np.uint64]
    """(2 x slots,) open addressing: pair key + 1 (0: empty), pair index."""

    pair_left: NDArray[np.int32]
    pair_right: NDArray[np.int32]
    pair_count: NDArray[np.int64]
    run_start: NDArray[np.int64]
    run_length: NDArray[np.int64]

    pool: NDArray[np.uint64]
    """Position runs of the pairs."""

    heap: NDArray[np.uint64]
    """(4 x nodes,) binary heap, greatest first."""

    merge_left: NDArray[np.int32]
    merge_right: NDArray[np.int32]
    merge_count: NDArray[np.int64]
    """(merges,) how many pairs of the text each merge replaced."""

    side_weight: NDArray[np.int64]
    """(2, tokens) scratch: text occurrences by left and right neighbour; zero between merges."""

    side_visits: NDArray[np.int64]
    """(2, tokens) scratch: positions by neighbour, then cursors into the pool."""

    side_tokens: NDArray[np.int32]
    """(2, tokens) scratch: the neighbours met."""

    visit_entry: NDArray[np.uint64]
    """(longest run,) scratch: pool entries of the replaced pairs."""

    visit_left: NDArray[np.int32]
    visit_right: NDArray[np.int32]
