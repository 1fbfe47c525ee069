"""The ways to perform the ranges of a stage that benchmarks/bench_cluster.py compares."""

import importlib
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client

NUM_TASKS = 100
MAPPED = ("count_pretokens", "encode_shards")
STAGES = ("count_pretokens", "train_tokenizer", "encode_shards")
"""Merging is not mapped, but it adds the counts up, which a cluster does as a tree."""

Build = Callable[..., object]


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A way to perform the ranges of a stage."""

    name: str
    settings: tuple[str, ...]
    build: Build
    """The flow, with this runner."""
    per_task: Callable[[], float]
    """Seconds of a task that does nothing."""
    stages: tuple[str, ...] = STAGES


def do_nothing(number: int) -> int:
    """Return the argument: what is left is the runner's own time."""
    return number


def seconds_per_dask_task(client: "Client") -> float:
    """Return the seconds of a function that is given to Dask as `map_ranges` does it."""
    client.submit(do_nothing, 0, pure=False).result()
    began = time.monotonic()
    for future in [client.submit(do_nothing, n, pure=False) for n in range(NUM_TASKS)]:
        future.result()
    return (time.monotonic() - began) / NUM_TASKS


def seconds_per_prefect_task(runner: Any) -> float:
    """Return the seconds of one Prefect task that does nothing, after a first one."""
    from prefect import flow, task

    nothing = task(do_nothing)

    @flow(task_runner=runner, persist_result=False)
    def map_nothing() -> float:
        nothing.submit(0).result()  # workers import what they need
        began = time.monotonic()
        for future in [nothing.submit(number) for number in range(NUM_TASKS)]:
            future.result()
        return time.monotonic() - began

    return map_nothing() / NUM_TASKS


def runners_of(client: "Client", workers: int) -> list[Runner]:
    """Return what is compared; prefect-dask only where it is installed."""
    from prefect.task_runners import ThreadPoolTaskRunner

    from flows.pipeline import owt_pipeline

    address = client.scheduler.address
    threads = partial(seconds_per_prefect_task, ThreadPoolTaskRunner(max_workers=workers))
    found = [
        Runner(
            name="one thread",
            settings=("run.workers=1",),
            build=owt_pipeline,
            per_task=partial(seconds_per_prefect_task, ThreadPoolTaskRunner(max_workers=1)),
        ),
        Runner(
            name=f"{workers} threads",
            settings=(f"run.workers={workers}",),
            build=owt_pipeline,
            per_task=threads,
        ),
        Runner(
            name=f"distributed, {workers} workers",
            settings=("run.runner=dask", f"run.dask_address={address}"),
            build=owt_pipeline,
            per_task=partial(seconds_per_dask_task, client),
        ),
    ]
    if importlib.util.find_spec("prefect_dask"):
        dask_runner = importlib.import_module("prefect_dask").DaskTaskRunner
        found.append(
            Runner(
                name=f"prefect-dask, {workers} workers",
                settings=(f"run.workers={workers}",),
                build=owt_pipeline.with_options(task_runner=dask_runner(address=address)),
                per_task=lambda: seconds_per_prefect_task(dask_runner(address=address)),
                stages=MAPPED,  # with threads' merges it would be the row of threads
            )
        )
    return found
