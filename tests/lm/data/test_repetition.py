"""Repetition is measured as a plain count over all places would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.data.repetition import (
    describe_repetition,
    longest_repeat,
    loop_length,
    recent_share,
    repeated_share,
)

token_lists = st.lists(st.integers(0, 3), max_size=20)


@given(sample=token_lists)
def test_the_longest_repeat_equals_a_search_over_all_pairs(sample: list[int]) -> None:
    """No pair of places has a longer common run, and one pair has it."""
    runs = [0]
    for first in range(len(sample)):
        for second in range(first + 1, len(sample)):
            length = 0
            while second + length < len(sample) and (
                sample[first + length] == sample[second + length]
            ):
                length += 1
            runs.append(length)
    assert longest_repeat(sample) == max(runs)


@given(samples=st.lists(token_lists, max_size=3), n=st.integers(1, 4))
def test_repeated_share_counts_ngrams_that_came_before(samples: list[list[int]], n: int) -> None:
    """Each n-gram is looked for among the earlier ones of its own sample."""
    hits = total = 0
    for sample in samples:
        ngrams = [tuple(sample[start : start + n]) for start in range(len(sample) - n + 1)]
        hits += sum(ngram in ngrams[:place] for place, ngram in enumerate(ngrams))
        total += len(ngrams)
    expected = hits / total if total else None
    assert repeated_share(samples, n) == (None if expected is None else pytest.approx(expected))


def test_recent_share_looks_back_a_window() -> None:
    """A token that came earlier than that counts as new."""
    assert recent_share([[1, 2, 3, 1]], window=3) == pytest.approx(1 / 3)
    assert recent_share([[1, 2, 3, 1]], window=2) == 0.0
    assert recent_share([[1], []]) is None


@pytest.mark.parametrize(
    ("sample", "length"),
    [([1, 1, 1], 1), ([1, 1], 0), ([9, 1, 2, 1, 2, 1, 2], 2), ([1, 2, 1, 2, 1, 2, 3], 0), ([], 0)],
)
def test_a_loop_is_three_cycles_up_to_the_end(sample: list[int], length: int) -> None:
    """Two cycles are a coincidence, and what is left is no loop."""
    assert loop_length(sample) == length


def test_a_description_tells_a_loop_from_a_text() -> None:
    """Every measure is worse for the sample that goes in circles."""
    text, circle = list(range(40)), [5, 6, 7, 8] * 10
    good, bad = describe_repetition([text]), describe_repetition([circle, circle])
    assert (good.repeated_share, good.recent_share, good.longest_repeat, good.num_loops) == (
        0.0,
        0.0,
        0,
        0,
    )
    assert good.distinct == (1.0, 1.0, 1.0)
    assert bad.repeated_share == pytest.approx(1 - 4 / 37)
    assert bad.longest_repeat == 36
    assert (bad.num_samples, bad.num_tokens, bad.num_loops) == (2, 80, 2)
    assert max(bad.distinct) < 0.1
