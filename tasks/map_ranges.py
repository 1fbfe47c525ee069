"""Map one Prefect task over byte ranges, leaving out what an earlier attempt finished."""

from collections import deque
from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any

from prefect import Task
from prefect.futures import PrefectFuture

from tasks.progress import progress
from tasks.stopping import stop_switch

ByteRange = tuple[int, int]


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
    finished: Collection[int],
    workers: int,
    description: str,
    arguments: dict[str, object],
) -> None:
    """Run `range_task(number=…, start=…, stop=…, **arguments)` for each range not `finished`.

    At most `workers` run at a time, whatever the flow's task runner would allow. The first
    failure is raised, and no further range is started after it. Where the run is stopped, the
    ranges that are being worked on are finished and kept.

    Raises:
        RunStopped: The run was stopped.
    """
    switch = stop_switch()
    sizes = [stop - start for start, stop in ranges]
    total, done = sum(sizes), sum(sizes[number] for number in finished)
    running: deque[tuple[int, PrefectFuture[Any]]] = deque()
    missing = iter([number for number in range(len(ranges)) if number not in finished])
    with progress(description) as on_progress:
        on_progress(done, total)
        while True:
            free = 0 if switch.is_pressed else workers - len(running)
            for number in islice(missing, free):
                start, stop = ranges[number]
                future = range_task.submit(number=number, start=start, stop=stop, **arguments)
                running.append((number, future))
            if not running:
                switch.check()
                return
            number, future = running.popleft()
            future.result()
            done += sizes[number]
            on_progress(done, total)
