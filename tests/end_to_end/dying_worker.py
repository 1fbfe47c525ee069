"""Preload of a Dask worker (`dask worker --preload`): it dies at a range of a test's choice.

`OWT_TEST_DIES_AT` is the first byte of that range; "second": whatever it is given second.
"""

import itertools
import os
import signal
from typing import Any

from tokenizer.training import count as counting

original = counting.count_pretokens
calls = itertools.count(1)


def dies(*args: Any, start: int, **kwargs: Any) -> Any:
    """Count, or die in the middle of it as a machine does whose power fails."""
    wanted = os.environ["OWT_TEST_DIES_AT"]
    if (next(calls) == 2) if wanted == "second" else (start == int(wanted)):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, start=start, **kwargs)


counting.count_pretokens = dies  # type: ignore[assignment] # any arguments
