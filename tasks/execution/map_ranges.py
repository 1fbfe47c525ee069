"""Map one task over byte ranges, leaving out what an earlier attempt finished."""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Protocol

from prefect import Task

from tasks.context import RunContext, retry_options
from tasks.execution.cluster import connected, explain_killed, num_threads, perform_range
from tasks.watching.progress import progress
from tasks.watching.stopping import stop_switch

ByteRange = tuple[int, int]


class Running(Protocol):
    """A range that is being worked on, in a thread or on another machine."""

    def result(self) -> Any:
        """Wait for it; raises what it raised."""


Submit = Callable[[int, int, int], Running]
"""Starts the range (number, start, stop)."""


def part_name(prefix: str, number: int, suffix: str) -> str:
    """Name the part of one range so that names sort as the ranges do.

    >>> part_name("shard", 7, ".npy")
    'shard-00007.npy'
    """
    return f"{prefix}-{number:05d}{suffix}"


def map_ranges(
    range_task: Task[..., Any],
    ranges: Sequence[ByteRange],
    *,
    context: RunContext,
    finished: Collection[int],
    description: str,
    arguments: dict[str, object],
) -> None:
    """Run `range_task(context=…, number=…, start=…, stop=…, **arguments)` for what is missing.

    In threads or on the run's Dask cluster; which of them changes no byte. Only as many ranges are
    given away as can be worked on at a time. The first failure is raised, and no further range is
    started after it. Where the run is stopped, the ranges that are being worked on are finished
    and kept.

    Raises:
        RunStopped: The run was stopped.
    """
    switch = stop_switch()
    missing = [number for number in range(len(ranges)) if number not in finished]
    if not missing:
        return
    sizes = [stop - start for start, stop in ranges]
    total, done = sum(sizes), sum(sizes[number] for number in finished)
    running: deque[tuple[int, Running]] = deque()
    waiting = iter(missing)
    with (
        range_runner(range_task, context, arguments) as (submit, workers),
        progress(description) as on_progress,
    ):
        on_progress(done, total)
        while True:
            free = 0 if switch.is_pressed else workers - len(running)
            for number in islice(waiting, free):
                running.append((number, submit(number, *ranges[number])))
            if not running:
                switch.check()
                return
            number, future = running.popleft()
            try:
                future.result()
            except Exception as error:
                if context.cluster is None:
                    raise
                what = "the bytes {} to {}".format(*ranges[number])
                raise explain_killed(error, description, what) from error
            done += sizes[number]
            on_progress(done, total)


@contextmanager
def range_runner(
    range_task: Task[..., Any], context: RunContext, arguments: dict[str, object]
) -> Iterator[tuple[Submit, int]]:
    """Give what starts a range, and how many may run at a time."""
    arguments = {"context": context, **arguments}
    if context.cluster is None:
        retried = range_task.with_options(**retry_options(context))

        def in_thread(number: int, start: int, stop: int) -> Running:
            return retried.submit(number=number, start=start, stop=stop, **arguments)

        yield in_thread, context.workers
        return
    with connected(context.cluster) as client:
        place = (range_task.fn.__module__, range_task.fn.__name__)

        def on_cluster(number: int, start: int, stop: int) -> Running:
            # Not pure: a range that an earlier run lost is done again, not looked up.
            future: Running = client.submit(
                perform_range, *place, arguments, number, start, stop, pure=False
            )
            return future

        yield on_cluster, num_threads(client)
