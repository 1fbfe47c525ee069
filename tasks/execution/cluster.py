"""Work on a Dask cluster: its workers share the artifact store with us, and nothing else.

`distributed` is used directly, without Prefect's task runner for it: docs/decisions/0011-dask.md.
Imports nothing heavy, because the configuration names a cluster.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from distributed import Client

    from tasks.context import RunContext

Result = TypeVar("Result")

CONNECT_TIMEOUT_S = 15
"""Seconds for the scheduler to answer, and then for its first worker."""

ALLOWED_FAILURES = 2
"""Deaths of a worker that a range is forgiven; at the next one it stops the run."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A Dask cluster of this run."""

    address: str = ""
    """Its scheduler; "": a cluster of this machine's own."""
    workers: int = 0
    """Processes of a cluster of this machine's own."""


@contextmanager
def connected(cluster: Cluster) -> Iterator[Client]:
    """Give a client of the cluster, which is started here and ended where it has no address.

    Raises:
        ValueError: Dask is not installed, or the cluster cannot be worked with.
    """
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ValueError(
            "run.runner (dask) needs the package distributed, which is not installed; "
            'pip install -e ".[dask]", or set run.runner=threads'
        ) from error
    if not cluster.address:
        options = {"distributed.scheduler.allowed-failures": ALLOWED_FAILURES}
        with (
            dask.config.set(options),
            LocalCluster(
                n_workers=cluster.workers, threads_per_worker=1, dashboard_address=None
            ) as own,
            Client(own) as client,
        ):
            yield client
        return
    try:
        client = Client(cluster.address, timeout=CONNECT_TIMEOUT_S)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no Dask scheduler answers at run.dask_address ({cluster.address}): {error}; "
            'start one with "dask scheduler", or set run.runner=threads'
        ) from error
    with client:
        refuse_unusable(client, cluster.address)
        yield client


def refuse_unusable(client: Client, address: str) -> None:
    """Raise `ValueError` where the cluster has no workers, or other versions of Dask."""
    try:
        client.wait_for_workers(1, timeout=CONNECT_TIMEOUT_S)
    except TimeoutError as error:
        raise ValueError(
            f"the Dask scheduler at {address} has no worker; "
            f'start one with "dask worker {address}" in this environment'
        ) from error
    versions = client.get_versions()
    found = {
        "here": versions["client"],
        "scheduler": versions["scheduler"],
        **versions["workers"],
    }
    dask = {place: facts["packages"]["distributed"] for place, facts in found.items()}
    if other := {place: version for place, version in dask.items() if version != dask["here"]}:
        place, version = next(iter(other.items()))
        raise ValueError(
            f"Dask at {place} is version {version}, here it is {dask['here']}; "
            "install the same constraints.txt everywhere"
        )


def num_threads(client: Client) -> int:
    """Return how many ranges the cluster works on at a time."""
    threads: int = sum(client.nthreads().values())
    return max(1, threads)


def perform_range(
    module: str, function: str, arguments: dict[str, Any], number: int, start: int, stop: int
) -> None:
    """Perform one range in a Dask worker.

    The task is sent by name: each machine runs the code that it has installed.
    """
    range_task = getattr(importlib.import_module(module), function)

    def work(here: RunContext) -> None:
        range_task.fn(**{**arguments, "context": here}, number=number, start=start, stop=stop)

    perform_in_worker(arguments["context"], work)


def perform_in_worker(context: RunContext, work: Callable[[RunContext], Result]) -> Result:
    """Do a piece of a stage in a Dask worker, with the worker's own folder for caches.

    It is tried again after a storage or network error, by the rules of the thread runner.
    """
    from tasks.execution.retry import is_transient

    here = replace(context, root=str(worker_folder()))
    attempt = 0
    while True:
        try:
            return work(here)
        except Exception as error:
            if attempt == context.retries or not is_transient(error):
                raise
        time.sleep(context.retry_delay_s * 2**attempt)
        attempt += 1


def worker_folder() -> Path:
    """Return the folder for caches on a worker's machine: our own data root is not there."""
    from distributed import get_worker

    return Path(get_worker().local_directory) / "owt"


def explain_killed(error: BaseException, description: str, what: str) -> BaseException:
    """Return the error of a piece of work, in our words where its workers died."""
    from distributed.scheduler import KilledWorker

    if not isinstance(error, KilledWorker):
        return error
    return RuntimeError(
        f"{description}: {error.allowed_failures + 1} workers died while they had {what}; "
        f"the last one was {error.last_worker.address}; look at its log and its memory, or at this "
        "part of the text"
    )
