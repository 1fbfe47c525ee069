"""Losses of a validation stream by document and by token: where a model is good, and where not.

Documents are the clusters of a standard error that holds where the losses of one document hang
together; groups of tokens show what frequency in the training text buys.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lm.experiment_statistics import cluster_standard_error


@dataclass(frozen=True, kw_only=True)
class LossGroup:
    """Mean loss of the tokens that have something in common."""

    lower: int
    upper: int
    """The group's bounds: lower <= length or count < upper."""
    num_tokens: int
    loss: float
    """Mean, in nats a token."""


class LossSums:
    """Running sums of the losses of a stream, by document and by token id, in float64."""

    def __init__(self, document_starts: NDArray[np.int64], vocab_size: int) -> None:
        self.starts = document_starts
        """Places in the stream at which a document starts, ascending."""
        self.by_document = np.zeros(len(document_starts))
        self.num_by_document = np.zeros(len(document_starts), dtype=np.int64)
        self.by_token = np.zeros(vocab_size)
        self.num_by_token = np.zeros(vocab_size, dtype=np.int64)
        self._place = 1  # the first token is not predicted

    def add(self, targets: NDArray[np.int64], losses: NDArray[np.float64]) -> None:
        """Add the next predicted tokens of the stream and their losses, both flat."""
        places = np.arange(self._place, self._place + len(targets))
        self._place += len(targets)
        # What comes before the first start belongs to the first document.
        documents = np.maximum(np.searchsorted(self.starts, places, side="right") - 1, 0)
        for sums, counts, keys in (
            (self.by_document, self.num_by_document, documents),
            (self.by_token, self.num_by_token, targets),
        ):
            sums += np.bincount(keys, losses, minlength=len(sums))
            counts += np.bincount(keys, minlength=len(counts))

    def standard_error(self) -> float | None:
        """Return the error of the mean loss, documents being clusters; None for one."""
        used = self.num_by_document > 0
        return cluster_standard_error(self.by_document[used], self.num_by_document[used])

    def by_document_length(self) -> tuple[LossGroup, ...]:
        """Group by the predicted tokens of the document, each group up to twice as long."""
        lengths = self.num_by_document
        highest = int(lengths.max(initial=0))
        edges = [2**power for power in range(highest.bit_length() + 1)]
        return _groups(lengths, edges, self.by_document, lengths)

    def by_count(self, train_counts: NDArray[np.int64]) -> tuple[LossGroup, ...]:
        """Group by how often the token occurs in the training text, each group up to 10 times."""
        digits = len(str(int(train_counts.max(initial=0))))
        edges = [0] + [10**power for power in range(digits + 1)]
        return _groups(train_counts, edges, self.by_token, self.num_by_token)


def _groups(
    keys: NDArray[np.int64],
    edges: list[int],
    sums: NDArray[np.float64],
    counts: NDArray[np.int64],
) -> tuple[LossGroup, ...]:
    """Return the groups between neighbouring edges that hold a token."""
    groups = []
    for lower, upper in pairwise(edges):
        inside = (keys >= lower) & (keys < upper)
        num_tokens = int(counts[inside].sum())
        if num_tokens:
            loss = float(sums[inside].sum()) / num_tokens
            groups.append(LossGroup(lower=lower, upper=upper, num_tokens=num_tokens, loss=loss))
    return tuple(groups)
