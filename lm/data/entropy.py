"""Entropy of a token stream without a model: two lines to compare a loss curve with.

The unigram entropy is the loss of the best model that sees no context, the bigram entropy that
of the best one that sees one token, each fitted to the same tokens on which it is measured.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lm.data.shards import Tokens, iter_blocks, open_shards

MEMORY_LIMIT_BYTES = 256 * 2**20
"""Size of the table of pairs; a vocabulary whose pairs need more takes several passes."""


def count_tokens(shards: Sequence[Path], vocab_size: int) -> NDArray[np.int64]:
    """Count how often each token id occurs.

    Raises:
        ValueError: An id is not below `vocab_size`.
    """
    counts = np.zeros(vocab_size, dtype=np.int64)
    for block in iter_blocks(open_shards(shards)):
        _check(block, vocab_size)
        counts += np.bincount(block, minlength=vocab_size)
    return counts


def unigram_entropy(shards: Sequence[Path], vocab_size: int) -> float:
    """Return H(X) of the tokens in nats.

    Raises:
        ValueError: There are no tokens, or an id is not below `vocab_size`.
    """
    counts = count_tokens(shards, vocab_size)
    if not counts.any():
        raise ValueError("the shards hold no tokens; entropy needs at least one")
    return _sum_of_surprise(counts) / int(counts.sum())


def bigram_entropy(
    shards: Sequence[Path],
    vocab_size: int,
) -> float:
    """Return H(X_t | X_{t-1}) of the tokens in nats.

    Counts the pairs of as many first tokens at once as the memory holds: exact, in
    vocab_size^2 * 8 / `MEMORY_LIMIT_BYTES` passes over the shards.

    Raises:
        ValueError: There are fewer than two tokens, or an id is not below `vocab_size`.
    """
    stream = open_shards(shards)
    if stream.num_tokens < 2:
        raise ValueError(f"the shards hold {stream.num_tokens} tokens; a pair needs two")
    firsts = max(1, min(vocab_size, MEMORY_LIMIT_BYTES // (8 * vocab_size)))
    total = 0.0
    for start in range(0, vocab_size, firsts):
        table = np.zeros((firsts, vocab_size), dtype=np.int64)
        for previous, following in _iter_pairs(iter_blocks(stream)):
            _check(following, vocab_size)
            chosen = (previous >= start) & (previous < start + firsts)
            cells = (previous[chosen] - start) * vocab_size + following[chosen]
            np.add.at(table.reshape(-1), cells, 1)
        total += sum(_sum_of_surprise(row) for row in table if row.any())
    return total / (stream.num_tokens - 1)


def _iter_pairs(blocks: Iterator[Tokens]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield each token with the one before it, also over the edges of blocks."""
    last = np.empty(0, dtype=np.int64)
    for block in blocks:
        joined = np.concatenate([last, block.astype(np.int64)])
        yield joined[:-1], joined[1:]
        last = joined[-1:]


def _sum_of_surprise(counts: NDArray[np.int64]) -> float:
    """Return the sum over all n occurrences of -log(count / n), in nats."""
    positive = counts[counts > 0].astype(np.float64)
    total = positive.sum()
    return float(total * np.log(total) - (positive * np.log(positive)).sum())


def _check(ids: NDArray[np.integer], vocab_size: int) -> None:
    largest = int(ids.max(initial=0))
    if largest >= vocab_size:
        raise ValueError(f"token id {largest} is not below vocab_size ({vocab_size})")
