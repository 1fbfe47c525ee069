"""Tests of `lm/data/loss_groups.py`."""

import numpy as np
import pytest

from lm.data.loss_groups import LossSums

STARTS = np.array([0, 3, 10])
TARGETS = np.array([1, 2, 1, 1, 0, 2, 2, 1, 1, 3, 3], dtype=np.int64)
LOSSES = np.arange(1.0, 12.0)


def sums_of(parts: list[int]) -> LossSums:
    """Add the stream in parts that end at the given places."""
    sums = LossSums(STARTS, vocab_size=4)
    for start, stop in zip([0, *parts], [*parts, len(TARGETS)], strict=True):
        sums.add(TARGETS[start:stop], LOSSES[start:stop])
    return sums


@pytest.mark.parametrize("parts", [[], [1], [2, 9], list(range(1, 11))])
def test_sums_do_not_depend_on_the_batches(parts: list[int]) -> None:
    """The first token of the stream is not predicted, so the first document has one token less."""
    sums = sums_of(parts)
    assert sums.num_by_document.tolist() == [2, 7, 2]
    assert sums.by_document.tolist() == [3.0, 42.0, 21.0]
    assert sums.num_by_token.tolist() == [1, 5, 3, 2]


def test_groups_of_length_and_count_hold_every_token() -> None:
    """Lengths in powers of two, counts in powers of ten; a token never seen has its own."""
    sums = sums_of([])
    lengths = sums.by_document_length()
    assert [(g.lower, g.upper, g.num_tokens) for g in lengths] == [(2, 4, 4), (4, 8, 7)]
    assert [g.loss for g in lengths] == [6.0, 6.0]
    counts = sums.by_count(np.array([0, 100, 12, 9]))
    assert [(g.lower, g.upper, g.num_tokens) for g in counts] == [
        (0, 1, 1),
        (1, 10, 2),
        (10, 100, 3),
        (100, 1000, 5),
    ]
    assert sum(g.loss * g.num_tokens for g in counts) == pytest.approx(LOSSES.sum())


def test_the_error_is_that_of_the_mean_where_documents_are_equally_long() -> None:
    """With equal clusters the ratio is a plain mean of cluster means."""
    sums = LossSums(np.array([0, 5, 9]), vocab_size=2)
    sums.add(np.zeros(12, dtype=np.int64), np.repeat([1.0, 2.0, 4.0], 4))
    expected = np.std([1.0, 2.0, 4.0], ddof=1) / np.sqrt(3)
    assert sums.standard_error() == pytest.approx(expected)


def test_one_document_has_no_error() -> None:
    """A spread needs two clusters."""
    sums = LossSums(np.array([0]), vocab_size=2)
    sums.add(np.zeros(3, dtype=np.int64), np.ones(3))
    assert sums.standard_error() is None
