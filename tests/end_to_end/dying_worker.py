"""Preload of a Dask worker (`dask worker --preload`): it dies at a range of a test's choice.

`OWT_TEST_DIES_AT` is the first byte of that range; "second": whatever it is given second;
"sum": the first parts whose counts it is to add up.
"""

import itertools
import os
import signal
from typing import Any

from tasks.execution import count_tree
from tokenizer.training import count as counting

wanted = os.environ["OWT_TEST_DIES_AT"]
original = counting.count_pretokens
calls = itertools.count(1)


def dies(*args: Any, start: int, **kwargs: Any) -> Any:
    """Count, or die in the middle of it as a machine does whose power fails."""
    if next(calls) == 2 if wanted == "second" else str(start) == wanted:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, start=start, **kwargs)


counting.count_pretokens = dies  # type: ignore[assignment] # any arguments


def dies_at_sums(*args: Any) -> None:
    """Die before the first sum."""
    os.kill(os.getpid(), signal.SIGKILL)


if wanted == "sum":
    count_tree.add_up_parts = dies_at_sums  # type: ignore[assignment] # any arguments
