"""Making the arrays of the merge loop: at the start, after a checkpoint, and larger ones."""

import numpy as np
from numpy.typing import NDArray

from tokenizer.config import NUM_BYTES, TieBreak
from tokenizer.formats.byte_level import BYTE_ORDER
from tokenizer.kernels.merging.merge_fill import fill_cells, fill_runs, fill_table, number_pairs
from tokenizer.kernels.merging.merge_state import (
    BYTES_FULL,
    BYTES_SIZE,
    HEAP_FULL,
    HEAP_WIDTH,
    NUM_MERGES,
    NUM_TOKENS,
    PAIRS_FULL,
    POOL_FULL,
    POOL_SIZE,
    SEPARATOR,
    MergeState,
)
from tokenizer.kernels.merging.pair_heap import order_word
from tokenizer.training.counts import PretokenCounts
from tokenizer.training.merge_checkpoint import SavedMerges

_FIRST_PAIRS = 2**17
"""Room for every pair of bytes at the start, and as many again."""

_FIRST_NODES = 2**14
"""Room of the heap at the start."""

_POOL_SLACK = 1.6
"""Room in the pool over what it holds after a rebuild; 1.3 rebuilt twice as often for 10% of
memory, 2.0 gained no time."""


def initial_state(counts: PretokenCounts, num_merges: int, tie_break: TieBreak) -> MergeState:
    """Return the state before the first merge, without pairs.

    Raises:
        ValueError: The distinct pretokens have 2**31 bytes or more in all.
    """
    num_cells = len(counts.data) + len(counts) + 1
    if num_cells >= 2**31:
        raise ValueError(
            f"the distinct pretokens have {len(counts.data)} bytes in all, but at most 2**31 can "
            "be merged; train on a part of the text"
        )
    num_tokens = NUM_BYTES + num_merges
    cells = np.full(num_cells, SEPARATOR, dtype=np.int32)
    fill_cells(cells, counts.data, counts.offsets)
    order = np.zeros(num_tokens, dtype=np.uint64)
    order[:NUM_BYTES] = _byte_order(tie_break)
    token_bytes = np.zeros(16 * num_tokens, dtype=np.uint8)
    token_bytes[:NUM_BYTES] = np.arange(NUM_BYTES)
    sizes = np.zeros(7, dtype=np.int64)
    sizes[NUM_TOKENS] = sizes[BYTES_SIZE] = NUM_BYTES
    length = np.ones(num_tokens, dtype=np.int64)
    start = np.arange(num_tokens, dtype=np.int64)
    return MergeState(
        sizes=sizes,
        cells=cells,
        word_offsets=np.ascontiguousarray(counts.offsets),
        word_counts=np.ascontiguousarray(counts.counts),
        token_length=length,
        token_start=start,
        token_bytes=token_bytes,
        token_order=order,
        table=np.zeros(_table_words(_FIRST_PAIRS), dtype=np.uint64),
        pair_left=np.zeros(_FIRST_PAIRS, dtype=np.int32),
        pair_right=np.zeros(_FIRST_PAIRS, dtype=np.int32),
        pair_count=np.zeros(_FIRST_PAIRS, dtype=np.int64),
        run_start=np.zeros(_FIRST_PAIRS, dtype=np.int64),
        run_length=np.zeros(_FIRST_PAIRS, dtype=np.int64),
        pool=np.empty(0, dtype=np.uint64),
        heap=np.zeros(HEAP_WIDTH * _FIRST_NODES, dtype=np.uint64),
        merge_left=np.zeros(num_merges, dtype=np.int32),
        merge_right=np.zeros(num_merges, dtype=np.int32),
        merge_count=np.zeros(num_merges, dtype=np.int64),
        side_weight=np.zeros((2, num_tokens + 1), dtype=np.int64),
        side_visits=np.zeros((2, num_tokens + 1), dtype=np.int64),
        side_tokens=np.zeros((2, num_tokens + 1), dtype=np.int32),
        visit_entry=np.empty(0, dtype=np.uint64),
        visit_left=np.empty(0, dtype=np.int32),
        visit_right=np.empty(0, dtype=np.int32),
    )


def restored_state(state: MergeState, saved: SavedMerges, tie_break: TieBreak) -> MergeState:
    """Return an initial state after the merges of a checkpoint, without pairs."""
    num_saved = len(saved.merge_left)
    tokens = [bytes([byte]) for byte in range(NUM_BYTES)]
    for left, right in zip(saved.merge_left.tolist(), saved.merge_right.tolist(), strict=True):
        tokens.append(tokens[left] + tokens[right])
    num_tokens = len(tokens)
    lengths = np.array([len(token) for token in tokens], dtype=np.int64)
    all_bytes = np.frombuffer(b"".join(tokens), dtype=np.uint8)
    token_bytes = np.zeros(max(len(state.token_bytes), 2 * len(all_bytes)), dtype=np.uint8)
    token_bytes[: len(all_bytes)] = all_bytes
    state.token_length[:num_tokens] = lengths
    state.token_start[:num_tokens] = np.cumsum(lengths) - lengths
    if tie_break == "lexicographic":
        for token in range(num_tokens):
            state.token_order[token] = order_word(
                token_bytes, int(state.token_start[token]), int(state.token_length[token])
            )
    else:
        merged = np.arange(NUM_BYTES, num_tokens, dtype=np.uint64)
        state.token_order[NUM_BYTES:num_tokens] = ~merged
    state.merge_left[:num_saved] = saved.merge_left
    state.merge_right[:num_saved] = saved.merge_right
    state.merge_count[:num_saved] = saved.merge_count
    state.sizes[NUM_TOKENS] = num_tokens
    state.sizes[NUM_MERGES] = num_saved
    state.sizes[BYTES_SIZE] = len(all_bytes)
    return state._replace(cells=saved.cells, token_bytes=token_bytes)


def with_pairs(state: MergeState) -> MergeState:
    """Find all pairs, and leave room in the pool to append to."""
    while number_pairs(state) == PAIRS_FULL:
        state = _with_pairs_capacity(state, 2 * len(state.pair_left))
    longest = int(state.run_length.max(initial=0))
    live = int(state.sizes[POOL_SIZE])
    # A merge appends at most two entries for each of its pair's.
    size = max(int(live * _POOL_SLACK), live + 2 * longest)
    if size > len(state.pool):
        state = state._replace(pool=np.empty(size, np.uint64))
    fill_runs(state)
    if longest > len(state.visit_entry):
        state = state._replace(
            visit_entry=np.empty(longest, np.uint64),
            visit_left=np.empty(longest, np.int32),
            visit_right=np.empty(longest, np.int32),
        )
    return state


def with_room(state: MergeState, status: int) -> MergeState:
    """Enlarge the array that `run_merges` found too small; other states stay as they are."""
    if status == POOL_FULL:
        # Most of a full pool is stale; to find all pairs again keeps only the live part.
        return with_pairs(state)
    if status == PAIRS_FULL:
        return _with_pairs_capacity(state, 2 * len(state.pair_left))
    if status == HEAP_FULL:
        return _with_capacity(state, "heap", 2 * len(state.heap))
    if status == BYTES_FULL:
        # The longest token at most doubles, so this is enough.
        return _with_capacity(state, "token_bytes", 3 * len(state.token_bytes))
    return state


def _byte_order(tie_break: TieBreak) -> NDArray[np.uint64]:
    """Return `token_order` of the single bytes."""
    if tie_break == "huggingface":
        order = np.zeros(NUM_BYTES, dtype=np.uint64)
        order[list(BYTE_ORDER)] = ~np.arange(NUM_BYTES, dtype=np.uint64)
        return order
    every_byte = np.arange(NUM_BYTES, dtype=np.uint8)
    words = [order_word(every_byte, byte, 1) for byte in range(NUM_BYTES)]
    return np.array(words, dtype=np.uint64)


def _with_capacity(state: MergeState, name: str, size: int) -> MergeState:
    """Return the state with one array enlarged to `size`, its content kept."""
    old = getattr(state, name)
    new = np.zeros(size, dtype=old.dtype)
    new[: len(old)] = old
    return state._replace(**{name: new})


def _with_pairs_capacity(state: MergeState, size: int) -> MergeState:
    """Return the state with room for `size` pairs and a new, larger table."""
    for name in ("pair_left", "pair_right", "pair_count", "run_start", "run_length"):
        state = _with_capacity(state, name, size)
    state = state._replace(table=np.zeros(_table_words(size), dtype=np.uint64))
    fill_table(state)
    return state


def _table_words(num_pairs: int) -> int:
    """Return the words of a table at most half full with `num_pairs`: two a slot, a power of 2."""
    return 4 * int(2 ** np.ceil(np.log2(num_pairs)))
