"""Pretoken counts added up on the run's Dask cluster, as a tree.

No machine holds all parts: a worker reads a few and adds them up, sums are added up in pairs on the
worker that has the larger one, and only the last sum comes here. The sum of counts does not depend
on the order, so the tree has the result of `read_counts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from artifacts.identity import Reference
from artifacts.published.reading import local_file
from tasks.context import RunContext, store_of
from tasks.execution.cluster import connected, explain_killed, perform_in_worker

if TYPE_CHECKING:
    from tokenizer.training.counts import PretokenCounts

PARTS_PER_LEAF = 4
"""Parts that one task reads: enough that a sum of them is smaller than they are together."""


def add_up_on_cluster(
    context: RunContext, counts: Reference, names: Sequence[str]
) -> PretokenCounts:
    """Return the sum of the parts of an artifact of counts.

    Raises:
        RuntimeError: Three workers died while they added up the same parts.
    """
    assert context.cluster is not None
    with connected(context.cluster) as client:
        # Not pure: what an earlier run lost is done again, not looked up.
        sums = [
            client.submit(add_up_parts, context, counts, names[i : i + PARTS_PER_LEAF], pure=False)
            for i in range(0, len(names), PARTS_PER_LEAF)
        ]
        while len(sums) > 1:
            pairs = [sums[i : i + 2] for i in range(0, len(sums), 2)]
            sums = [
                client.submit(add_up, *pair, pure=False) if len(pair) == 2 else pair[0]
                for pair in pairs
            ]
        try:
            total: PretokenCounts = sums[0].result()
        except Exception as error:
            what = f"parts of {counts.uri}"
            raise explain_killed(error, "add up the counts", what) from error
        return total


def add_up_parts(context: RunContext, counts: Reference, names: Sequence[str]) -> PretokenCounts:
    """Return the sum of some parts, read in a worker."""
    from tokenizer.training.count_tables import read_counts

    def read(here: RunContext) -> PretokenCounts:
        return read_counts([local_file(store_of(here), counts, name) for name in names])

    return perform_in_worker(context, read)


def add_up(left: PretokenCounts, right: PretokenCounts) -> PretokenCounts:
    """Return the sum of two sums."""
    from tokenizer.training.count_tables import merge

    return merge([left, right])
