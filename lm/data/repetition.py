"""How much a generated text repeats itself: what a loss does not show and a reader sees at once.

Measures of Welleck et al. 2020 (Neural Text Generation with Unlikelihood Training, section 6) and
two plain ones. All take token ids and count within each sample, never over two.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lm.data.novelty import distinct_share, ngrams_of

Sample = Sequence[int]

DISTINCT = (1, 2, 3)
"""Lengths of the n-grams of distinct-n (Li et al. 2016, section 5)."""

REPEATED = 4
"""Length of the n-grams of seq-rep-4, the usual one (Welleck et al. 2020, table 2)."""

WINDOW = 128
"""Tokens that count as recent: the rep/128 of Welleck et al. 2020."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Repetition:
    """How much samples repeat themselves; None where they are too short to tell."""

    num_samples: int
    num_tokens: int
    distinct: tuple[float, ...]
    """Different n-grams over all, of all samples together, for the lengths of `DISTINCT`."""
    repeated_share: float | None
    """Share of 4-grams that occurred before in the same sample."""
    recent_share: float | None
    """Share of tokens that are among the 128 before them."""
    longest_repeat: int
    """Longest run of tokens that occurs twice in one sample."""
    num_loops: int
    """Samples that end in a loop: the same few tokens over and over."""


def describe_repetition(samples: Sequence[Sample]) -> Repetition:
    """Measure all samples of one setting together."""
    return Repetition(
        num_samples=len(samples),
        num_tokens=sum(map(len, samples)),
        distinct=tuple(distinct_share(samples, n) for n in DISTINCT),
        repeated_share=repeated_share(samples),
        recent_share=recent_share(samples),
        longest_repeat=max(map(longest_repeat, samples), default=0),
        num_loops=sum(loop_length(sample) > 0 for sample in samples),
    )


def repeated_share(samples: Sequence[Sample], n: int = REPEATED) -> float | None:
    """Return seq-rep-n: the share of n-grams that occurred before in the same sample.

    >>> repeated_share([[1, 2, 1, 2, 1]], 2)
    0.5
    """
    ngrams = [ngrams_of([sample], n) for sample in samples]
    total = sum(map(len, ngrams))
    return 1 - sum(len(set(found)) for found in ngrams) / total if total else None


def recent_share(samples: Sequence[Sample], window: int = WINDOW) -> float | None:
    """Return the share of tokens, each sample's first apart, that are among the `window` before."""
    hits = total = 0
    for sample in samples:
        for place in range(1, len(sample)):
            hits += sample[place] in sample[max(0, place - window) : place]
            total += 1
    return hits / total if total else None


def longest_repeat(sample: Sample) -> int:
    """Return the length of the longest run of tokens that occurs at two places, which may overlap.

    Whether a run of a length occurs twice is true up to some length and false from there, so that
    bisection finds it.

    >>> longest_repeat([5, 1, 2, 3, 6, 1, 2, 3])
    3
    """
    low, high = 0, max(0, len(sample) - 1)
    while low < high:
        middle = (low + high + 1) // 2
        ngrams = ngrams_of([sample], middle)
        if len(set(ngrams)) < len(ngrams):
            low = middle
        else:
            high = middle - 1
    return low


def loop_length(sample: Sample, *, min_cycles: int = 3) -> int:
    """Return the tokens of one cycle of the loop in which a sample ends; 0 where it does not.

    A loop is the same run of tokens at least `min_cycles` times in a row, up to the end.

    >>> loop_length([7, 1, 2, 1, 2, 1, 2])
    2
    """
    for cycle in range(1, len(sample) // min_cycles + 1):
        tail = list(sample[-cycle * min_cycles :])
        if tail == tail[:cycle] * min_cycles:
            return cycle
    return 0
