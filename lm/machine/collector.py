"""Python's garbage collector, at rest while a GPU is fed."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def paused_collector(*, is_paused: bool) -> Iterator[None]:
    """Keep the collector from running inside, where it would stall a step at any moment.

    What can only be freed by it waits for `gc.collect()`, or for the end.
    """
    was_enabled = gc.isenabled()
    if is_paused:
        gc.disable()
    try:
        yield
    finally:
        if is_paused and was_enabled:
            gc.enable()
