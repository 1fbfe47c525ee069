"""How varied generated text is, and how much of it occurs in the training text, token by token."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lm.data.shards import TokenShards, iter_blocks

NGRAM = 8
"""Tokens of each run that is looked up in the training text: longer than a usual phrase."""

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""Odd, with mixed bits: 2**64 over the golden ratio (Knuth, vol. 3, section 6.4)."""

_BLOCK_TOKENS = 2**20

Ngram = tuple[int, ...]


def ngrams_of(samples: Sequence[Sequence[int]], n: int) -> list[Ngram]:
    """List the runs of n tokens of each sample, repeats included."""
    return [
        tuple(sample[start : start + n])
        for sample in samples
        for start in range(len(sample) - n + 1)
    ]


def distinct_share(samples: Sequence[Sequence[int]], n: int) -> float:
    """Return different n-grams over all of them (Li et al. 2016, distinct-n); 0.0 without any."""
    ngrams = ngrams_of(samples, n)
    return len(set(ngrams)) / len(ngrams) if ngrams else 0.0


def seen_share(
    samples: Sequence[Sequence[int]], shards: TokenShards, *, n: int = NGRAM
) -> float | None:
    """Return the share of the samples' n-grams that occur in the shards; None without any.

    Reads every token of the shards once, a million at a time: 4 M tokens in a third of a second.
    """
    ngrams = ngrams_of(samples, n)
    wanted = set(ngrams)
    if not wanted:
        return None
    hashes = np.unique([_hashes(np.array(ngram, dtype=np.uint64), n)[0] for ngram in wanted])
    found: set[Ngram] = set()
    for tokens in _overlapping(shards, n):
        candidates = _hashes(tokens, n)
        places = np.searchsorted(hashes, candidates).clip(max=len(hashes) - 1)
        at = np.flatnonzero(hashes[places] == candidates)
        rows = np.unique(np.lib.stride_tricks.sliding_window_view(tokens, n)[at], axis=0)
        found.update(wanted & set(map(tuple, rows.tolist())))
    return sum(ngram in found for ngram in ngrams) / len(ngrams)


def _overlapping(shards: TokenShards, n: int) -> Iterator[NDArray[np.uint64]]:
    """Yield the tokens in blocks that begin with the last n - 1 tokens of the block before."""
    rest = np.empty(0, dtype=np.uint64)
    for block in iter_blocks(shards, block_tokens=_BLOCK_TOKENS):
        tokens = np.concatenate([rest, block.astype(np.uint64)])
        if len(tokens) >= n:
            yield tokens
        rest = tokens[max(0, len(tokens) - n + 1) :]


def _hashes(tokens: NDArray[np.uint64], n: int) -> NDArray[np.uint64]:
    """Return a hash of each run of n tokens: a polynomial of them, modulo 2**64."""
    hashes = np.zeros(len(tokens) - n + 1, dtype=np.uint64)
    for place in range(n):
        hashes = hashes * _MULTIPLIER + tokens[place : len(tokens) - n + 1 + place]
    return hashes
