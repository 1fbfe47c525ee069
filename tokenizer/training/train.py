"""Own training a BPE tokenizer: from a text or its pretoken counts to merges and vocabulary."""

import hashlib
import logging
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tokenizer.config import NUM_BYTES, TieBreak
from tokenizer.formats.byte_level import BYTE_ORDER
from tokenizer.kernels.first_use import announce_compile
from tokenizer.kernels.merge_loop import (
    BYTES_FULL,
    DONE,
    EXHAUSTED,
    HEAP_FULL,
    PAIRS_FULL,
    POOL_FULL,
    fill_runs,
    number_pairs,
    run_merges,
)
from tokenizer.kernels.merge_state import NUM_MERGES, NUM_TOKENS, POOL_SIZE, MergeState
from tokenizer.kernels.pair_heap import order_word
from tokenizer.special_tokens import check_special_tokens
from tokenizer.training.count import count_pretokens
from tokenizer.training.counts import PretokenCounts
from tokenizer.training.merge_setup import (
    initial_state,
    restored_state,
    with_capacity,
    with_pairs_capacity,
)

logger = logging.getLogger(__name__)

_MERGES_PER_CALL = 256
_POOL_SLACK = 1.6
"""Room in the pool over what it holds after a rebuild; 1.3 rebuilt twice as often for 10% of
memory, 2.0 gained no time."""


@dataclass(frozen=True, kw_only=True)
class MergeResult:
    """Hold the merges that a training made, and what is known about them for free."""

    merges: list[tuple[bytes, bytes]]
    """In the order they were made."""

    merge_counts: list[int]
    """How many pairs of the text each merge replaced."""

    is_exhausted: bool
    """Whether no pair was left before the wanted number of merges was reached."""

    num_distinct_pretokens: int
    num_pretokens: int
    num_bytes: int
    """Bytes of the text without special tokens."""

    num_tokens: int
    """Tokens of the text without special tokens, had it been encoded with these merges."""

    longest_tokens: list[bytes]
    """All tokens of the greatest length, in ascending byte order."""

    resumed_merges: int
    """Merges that came from the checkpoint."""

    seconds: dict[str, float]
    """By phase: `build` (first pairs), `merge`."""

    peak_rss_bytes: dict[str, int]
    """The process's highest resident size up to the end of each phase."""

    @property
    def bytes_per_token(self) -> float:
        """Return the compression of the training text, special tokens left out; 0.0 if empty."""
        return self.num_bytes / self.num_tokens if self.num_tokens else 0.0


def train_bpe(
    source: str | Path | PretokenCounts,
    vocab_size: int,
    special_tokens: Sequence[str],
    *,
    pattern: str = "gpt2",
    tie_break: TieBreak = "lexicographic",
    num_threads: int = 1,
    checkpoint_path: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[int, bytes], list[tuple[bytes, bytes]]]:
    """Train on a text, or on counts of its pretokens; return the vocabulary and the merges.

    Token ids are the bytes 0 to 255, the merges in order, then `special_tokens` as given. A text
    with too few pairs gives fewer merges than asked for.

    Args:
        source: a local path, an fsspec URL, or `PretokenCounts` (then `pattern` has no effect).
        vocab_size: number of token ids in all.
        special_tokens: texts that no token crosses.
        pattern: a name in `PATTERNS` or a regex.
        tie_break: which of equally frequent pairs goes first; see `train_merges`.
        num_threads: threads that count; merging uses one.
        checkpoint_path: see `train_merges`.
        on_progress: called with (merges done, merges wanted).

    Raises:
        ValueError: `vocab_size` leaves no room for the bytes and the special tokens.
    """
    check_special_tokens(special_tokens)
    smallest = NUM_BYTES + len(special_tokens)
    if vocab_size < smallest:
        raise ValueError(
            f"vocab_size ({vocab_size}) must be at least {smallest}: {NUM_BYTES} bytes and "
            f"{len(special_tokens)} special tokens"
        )
    if isinstance(source, PretokenCounts):
        counts = source
    else:
        counts = count_pretokens(
            source, pattern=pattern, special_tokens=special_tokens, num_threads=num_threads
        )
    result = train_merges(
        counts,
        vocab_size - smallest,
        tie_break=tie_break,
        checkpoint_path=checkpoint_path,
        on_progress=on_progress,
    )
    return build_vocab(result.merges, special_tokens), result.merges


def build_vocab(
    merges: Sequence[tuple[bytes, bytes]], special_tokens: Sequence[str]
) -> dict[int, bytes]:
    """Number the tokens: 256 bytes, then the merges in order, special tokens last."""
    tokens = [bytes([byte]) for byte in range(NUM_BYTES)]
    tokens += [left + right for left, right in merges]
    tokens += [token.encode("utf-8") for token in special_tokens]
    return dict(enumerate(tokens))


def train_merges(
    counts: PretokenCounts,
    num_merges: int,
    *,
    tie_break: TieBreak = "lexicographic",
    checkpoint_path: Path | None = None,
    checkpoint_merges: int = 4096,
    on_progress: Callable[[int, int], None] | None = None,
) -> MergeResult:
    """Merge the most frequent pair of adjacent tokens `num_merges` times.

    Equally frequent pairs: "lexicographic" takes the greater pair of byte strings, "huggingface"
    the pair of the smaller token ids, single bytes numbered by `BYTE_ORDER`.

    Args:
        counts: distinct pretokens with counts.
        num_merges: how many merges are wanted; fewer when no pair is left.
        tie_break: the rule for ties.
        checkpoint_path: file that the state is saved to every `checkpoint_merges` merges and at the
            end. One that is there already, of the same counts and rule, is gone on from, to the
            same merges; one of other counts is replaced.
        checkpoint_merges: merges between two saves.
        on_progress: called with (merges done, merges wanted).
    """
    if num_merges < 0:
        raise ValueError(f"num_merges ({num_merges}) must not be negative")
    if tie_break not in ("lexicographic", "huggingface"):
        raise ValueError(f'tie_break ({tie_break!r}) must be "lexicographic" or "huggingface"')
    announce_compile(run_merges, "merging")
    started = time.monotonic()
    identity = _identity(counts, tie_break) if checkpoint_path is not None else ""
    state = _first_state(counts, num_merges, tie_break, checkpoint_path, identity)
    resumed = int(state.sizes[NUM_MERGES])
    state = _rebuild(state)
    built = time.monotonic()
    rss_built = _peak_rss_bytes()
    state, is_exhausted = _merge_all(
        state, num_merges, tie_break, checkpoint_path, identity, checkpoint_merges, on_progress
    )
    return _result(
        state,
        counts,
        is_exhausted=is_exhausted,
        resumed_merges=resumed,
        seconds={"build": built - started, "merge": time.monotonic() - built},
        peak_rss_bytes={"build": rss_built, "merge": _peak_rss_bytes()},
    )


def _merge_all(
    state: MergeState,
    num_merges: int,
    tie_break: TieBreak,
    checkpoint_path: Path | None,
    identity: str,
    checkpoint_merges: int,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[MergeState, bool]:
    """Make the merges that are still wanted; return the state and whether pairs ran out."""
    done = saved = int(state.sizes[NUM_MERGES])
    status = DONE
    while done < num_merges and status != EXHAUSTED:
        target = min(num_merges, done + _MERGES_PER_CALL)
        status = run_merges(state, target, tie_break == "lexicographic")
        state = _make_room(state, status)
        done = int(state.sizes[NUM_MERGES])
        if on_progress is not None and status == DONE:
            on_progress(done, num_merges)
        is_last = done == num_merges or status == EXHAUSTED
        is_due = done > saved and (is_last or done - saved >= checkpoint_merges)
        if checkpoint_path is not None and is_due:
            _save_checkpoint(state, checkpoint_path, identity)
            saved = done
    return state, status == EXHAUSTED


def _first_state(
    counts: PretokenCounts,
    num_merges: int,
    tie_break: TieBreak,
    checkpoint_path: Path | None,
    identity: str,
) -> MergeState:
    if tie_break == "huggingface":
        order = np.zeros(NUM_BYTES, dtype=np.uint64)
        order[list(BYTE_ORDER)] = ~np.arange(NUM_BYTES, dtype=np.uint64)
    else:
        every_byte = np.arange(NUM_BYTES, dtype=np.uint8)
        words = [order_word(every_byte, byte, 1) for byte in range(NUM_BYTES)]
        order = np.array(words, dtype=np.uint64)
    by_bytes = tie_break == "lexicographic"
    if checkpoint_path is not None and checkpoint_path.exists():
        with np.load(checkpoint_path, allow_pickle=False) as saved:
            if str(saved["identity"]) == identity and len(saved["merge_left"]) <= num_merges:
                return restored_state(counts, num_merges, order, saved, by_bytes=by_bytes)
        logger.info("the checkpoint %s is of another training; starting anew", checkpoint_path)
    return initial_state(counts, num_merges, order)


def _rebuild(state: MergeState) -> MergeState:
    """Find the pairs anew, with room in the pool to append to."""
    while number_pairs(state) == PAIRS_FULL:
        state = with_pairs_capacity(state, 2 * len(state.pair_left))
    longest = int(state.run_length.max(initial=0))
    live = int(state.sizes[POOL_SIZE])
    # A merge appends at most two entries for each of its pair's.
    size = max(int(live * _POOL_SLACK), live + 2 * longest)
    if size > len(state.pool):
        state = state._replace(pool=np.empty(0, np.uint64))  # freed before the new one is made
        state = state._replace(pool=np.empty(size, np.uint64))
    fill_runs(state)
    if longest > len(state.visit_entry):
        state = state._replace(
            visit_entry=np.empty(longest, np.uint64),
            visit_left=np.empty(longest, np.int32),
            visit_right=np.empty(longest, np.int32),
        )
    return state


def _make_room(state: MergeState, status: int) -> MergeState:
    """Enlarge the array that `run_merges` found too small."""
    if status == POOL_FULL:
        # Most of a full pool is stale; a rebuild keeps the live part and makes room for more.
        return _rebuild(state)
    if status == PAIRS_FULL:
        return with_pairs_capacity(state, 2 * len(state.pair_left))
    if status == HEAP_FULL:
        return with_capacity(state, "heap", 2 * len(state.heap))
    if status == BYTES_FULL:
        # The longest token at most doubles, so twice the bytes are enough.
        return with_capacity(state, "token_bytes", 3 * len(state.token_bytes))
    return state


def _result(
    state: MergeState,
    counts: PretokenCounts,
    *,
    is_exhausted: bool,
    resumed_merges: int,
    seconds: dict[str, float],
    peak_rss_bytes: dict[str, int],
) -> MergeResult:
    num_merges, num_tokens = int(state.sizes[NUM_MERGES]), int(state.sizes[NUM_TOKENS])
    joined = state.token_bytes.tobytes()
    starts, lengths = state.token_start[:num_tokens], state.token_length[:num_tokens]
    spans = zip(starts.tolist(), (starts + lengths).tolist(), strict=True)
    tokens = [joined[start:stop] for start, stop in spans]
    left = map(tokens.__getitem__, state.merge_left[:num_merges].tolist())
    right = map(tokens.__getitem__, state.merge_right[:num_merges].tolist())
    longest = np.flatnonzero(lengths == lengths.max())
    merge_counts = state.merge_count[:num_merges].tolist()
    num_bytes = counts.num_bytes
    return MergeResult(
        merges=list(zip(left, right, strict=True)),
        merge_counts=merge_counts,
        is_exhausted=is_exhausted,
        num_distinct_pretokens=len(counts),
        num_pretokens=counts.num_pretokens,
        num_bytes=num_bytes,
        num_tokens=num_bytes - sum(merge_counts),
        longest_tokens=sorted(tokens[token] for token in longest.tolist()),
        resumed_merges=resumed_merges,
        seconds=seconds,
        peak_rss_bytes=peak_rss_bytes,
    )


def _identity(counts: PretokenCounts, tie_break: TieBreak) -> str:
    digest = hashlib.sha256(tie_break.encode())
    for array in (counts.data, counts.offsets, counts.counts):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _save_checkpoint(state: MergeState, path: Path, identity: str) -> None:
    """Write what the rest can be rebuilt from, under a temporary name first."""
    num_merges = int(state.sizes[NUM_MERGES])
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        np.savez(
            file,
            identity=np.array(identity),
            cells=state.cells,
            merge_left=state.merge_left[:num_merges],
            merge_right=state.merge_right[:num_merges],
            merge_count=state.merge_count[:num_merges],
        )
    temporary.replace(path)


def _peak_rss_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
