"""Training a BPE tokenizer: from a text or its pretoken counts to merges and vocabulary."""

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tokenizer.config import TieBreak, num_merges_of
from tokenizer.formats.vocabulary import build_vocab
from tokenizer.kernels.first_use import announce_compile
from tokenizer.kernels.merging.merge_loop import run_merges
from tokenizer.kernels.merging.merge_state import (
    DONE,
    EXHAUSTED,
    NUM_MERGES,
    NUM_TOKENS,
    MergeState,
)
from tokenizer.special_tokens import check_special_tokens
from tokenizer.training.count import count_pretokens
from tokenizer.training.counts import PretokenCounts
from tokenizer.training.merge_checkpoint import MergeCheckpoint, training_identity
from tokenizer.training.merge_setup import initial_state, restored_state, with_pairs, with_room

_MERGES_PER_CALL = 256
"""Merges between two calls of `on_progress`."""

_MERGES_PER_SAVE = 4096
"""Merges between two saves of the checkpoint."""


@dataclass(frozen=True, kw_only=True)
class MergeResult:
    """The merges of a training, and statistics that cost nothing more."""

    merges: list[tuple[bytes, bytes]]
    """In the order they were made."""

    merge_counts: list[int]
    """How many pairs of the text each merge replaced."""

    is_exhausted: bool
    """Whether no pair was left before the wanted number of merges was reached."""

    num_distinct_pretokens: int
    """How many different pretokens the text has."""

    num_pretokens: int
    """How many pretokens the text has, repeats included."""

    num_bytes: int
    """Bytes of the text without special tokens."""

    num_tokens: int
    """Tokens of the text without special tokens when it is encoded with these merges."""

    longest_tokens: list[bytes]
    """All tokens of the greatest length, in ascending byte order."""

    resumed_merges: int
    """Merges that came from the checkpoint."""

    seconds: dict[str, float]
    """Time of each phase: `build` (find the first pairs) and `merge`."""

    peak_rss_bytes: dict[str, int]
    """Highest resident size of the process up to the end of each phase."""

    @property
    def bytes_per_token(self) -> float:
        """Return the compression of the text without special tokens; 0.0 if it is empty."""
        return self.num_bytes / self.num_tokens if self.num_tokens else 0.0


def train_bpe(
    path: str | Path, vocab_size: int, special_tokens: Sequence[str], *, num_threads: int = 1
) -> tuple[dict[int, bytes], list[tuple[bytes, bytes]]]:
    """Train on a text with GPT-2's pattern; return the vocabulary and the merges.

    Token ids are the bytes 0 to 255, the merges in order, then `special_tokens` as given. A text
    with too few pairs gives fewer merges than asked for.

    Args:
        path: A local path or an fsspec URL.
        vocab_size: Number of token ids in all.
        special_tokens: Texts that no token overlaps.
        num_threads: Threads that count; merging uses one.

    Raises:
        ValueError: `vocab_size` leaves no room for the bytes and the special tokens.
    """
    check_special_tokens(special_tokens)
    num_merges = num_merges_of(vocab_size, special_tokens)
    counts = count_pretokens(path, special_tokens=special_tokens, num_threads=num_threads)
    merges = train_merges(counts, num_merges).merges
    return build_vocab(merges, special_tokens), merges


def train_merges(
    counts: PretokenCounts,
    num_merges: int,
    *,
    tie_break: TieBreak = "lexicographic",
    checkpoint_path: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> MergeResult:
    """Merge the most frequent pair of adjacent tokens `num_merges` times.

    Equally frequent pairs: "lexicographic" takes the greater pair of byte strings, "huggingface"
    the pair of the smaller token ids, single bytes numbered by `BYTE_ORDER`.

    Args:
        counts: Distinct pretokens with counts.
        num_merges: How many merges are wanted; fewer when no pair is left.
        tie_break: The rule for ties.
        checkpoint_path: File that the state is saved to every 4,096 merges and at the end. A file
            of the same counts and rule is resumed, to the same merges; one of other counts is
            replaced.
        on_progress: Called with (merges done, merges wanted).
    """
    if num_merges < 0:
        raise ValueError(f"num_merges ({num_merges}) must not be negative")
    if tie_break not in ("lexicographic", "huggingface"):
        raise ValueError(f'tie_break ({tie_break!r}) must be "lexicographic" or "huggingface"')
    announce_compile(run_merges, "merging")
    started = time.monotonic()
    checkpoint = None
    if checkpoint_path is not None:
        checkpoint = MergeCheckpoint(checkpoint_path, training_identity(counts, tie_break))
    state = initial_state(counts, num_merges, tie_break)
    if checkpoint is not None and (saved := checkpoint.load(num_merges)) is not None:
        state = restored_state(state, saved, tie_break)
    resumed_merges = int(state.sizes[NUM_MERGES])
    state = with_pairs(state)
    built, rss_built = time.monotonic(), _peak_rss_bytes()
    state, is_exhausted = _merge_all(state, num_merges, tie_break, checkpoint, on_progress)
    return _result(
        state,
        counts,
        is_exhausted=is_exhausted,
        resumed_merges=resumed_merges,
        seconds={"build": built - started, "merge": time.monotonic() - built},
        peak_rss_bytes={"build": rss_built, "merge": _peak_rss_bytes()},
    )


def _merge_all(
    state: MergeState,
    num_merges: int,
    tie_break: TieBreak,
    checkpoint: MergeCheckpoint | None,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[MergeState, bool]:
    """Make the merges that are still wanted; return the state and whether pairs ran out."""
    done = saved = int(state.sizes[NUM_MERGES])
    status = DONE
    while done < num_merges and status != EXHAUSTED:
        target = min(num_merges, done + _MERGES_PER_CALL)
        status = run_merges(state, target, tie_break == "lexicographic")
        state = with_room(state, status)
        done = int(state.sizes[NUM_MERGES])
        if on_progress is not None and status == DONE:
            on_progress(done, num_merges)
        is_last = done == num_merges or status == EXHAUSTED
        is_due = done > saved and (is_last or done - saved >= _MERGES_PER_SAVE)
        if checkpoint is not None and is_due:
            checkpoint.save(state)
            saved = done
    return state, status == EXHAUSTED


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


def _peak_rss_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
