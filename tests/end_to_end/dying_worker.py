"""Preload of a Dask worker (`dask worker --preload`): it dies at a moment of a test's choice.

`OWT_TEST_DIES_AT` is the first byte of a range that is counted; "second": the range that it is
given second; "sum": the first parts whose counts it is to add up.
"""

import itertools
import os
import signal
from typing import Any

from tasks.execution import count_tree
from tokenizer.training import count as counting


def dask_setup(worker: object) -> None:
    """Put what dies in its place; Dask calls this once, and executes the module itself twice."""
    del worker
    wanted = os.environ["OWT_TEST_DIES_AT"]
    count_pretokens = counting.count_pretokens
    calls = itertools.count(1)

    def die(*args: Any) -> None:
        """End in the middle of the work, as a machine does whose power fails."""
        del args
        os.kill(os.getpid(), signal.SIGKILL)

    def count_or_die(*args: Any, start: int, **kwargs: Any) -> Any:
        if next(calls) == 2 if wanted == "second" else str(start) == wanted:
            die()
        return count_pretokens(*args, start=start, **kwargs)

    counting.count_pretokens = count_or_die  # type: ignore[assignment] # any arguments
    if wanted == "sum":
        count_tree.add_up_parts = die  # type: ignore[assignment] # any arguments
