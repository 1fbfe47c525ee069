"""What a Dask cluster costs: counting over workers against threads, bytes moved, overhead a task.

    python -m benchmarks.bench_cluster --text corpus.txt --workers 2

Prints JSON lines: the seconds of `count_pretokens` and of `train_tokenizer` with threads and with a
cluster of this machine; the bytes that went between processes to add the counts up, against the
bytes of the parts; and the seconds a task that does nothing takes with each runner. `prefect-dask`
is measured where it is installed: the decision of docs/decisions/0011-dask.md is against it.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from distributed import Client, LocalCluster
from prefect import flow, task
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from artifacts.store import list_records, open_store
from benchmarks.result_line import print_result

CHECKOUT = Path(__file__).parents[1]
NUM_TASKS = 200


def do_nothing(number: int) -> int:
    """Return the argument: what is left is the runner's own time."""
    return number


nothing_task = task(do_nothing)


def seconds_per_prefect_task(runner: TaskRunner[Any]) -> float:
    """Return the time of one mapped Prefect task that does nothing, after a first one."""

    @flow(task_runner=runner, persist_result=False)
    def map_nothing() -> float:
        nothing_task.submit(0).result()  # workers start, and import what they need
        began = time.monotonic()
        for future in [nothing_task.submit(number) for number in range(NUM_TASKS)]:
            future.result()
        return time.monotonic() - began

    return map_nothing() / NUM_TASKS


def seconds_per_dask_task(client: Client) -> float:
    """Return the same for a function that is given to Dask as `map_ranges` does it."""
    client.submit(do_nothing, 0, pure=False).result()
    began = time.monotonic()
    for future in [client.submit(do_nothing, n, pure=False) for n in range(NUM_TASKS)]:
        future.result()
    return (time.monotonic() - began) / NUM_TASKS


def measure_overhead(client: Client, workers: int) -> None:
    """Print the time of a task that does nothing, by runner."""
    seconds = {
        "threads": seconds_per_prefect_task(ThreadPoolTaskRunner(max_workers=workers)),
        "distributed": seconds_per_dask_task(client),
    }
    if importlib.util.find_spec("prefect_dask"):
        prefect_dask = importlib.import_module("prefect_dask")
        runner = prefect_dask.DaskTaskRunner(address=client.scheduler.address)
        seconds["prefect-dask"] = seconds_per_prefect_task(runner)
    shown = {runner: round(1000 * found, 2) for runner, found in seconds.items()}
    print_result({"milliseconds_per_task": shown, "tasks": NUM_TASKS})


def build(stage: str, settings: list[str], root: Path) -> tuple[float, int]:
    """Build a stage with `owt run`; return its seconds, and the bytes of its artifacts."""
    options = [word for setting in settings for word in ("--set", setting)]
    command = ["-m", "flows", "run", "--preset", "openwebtext", "--only", stage, "--force", stage]
    done = subprocess.run(
        [sys.executable, *command, *options],
        cwd=CHECKOUT,
        env=os.environ | {"OWT_ROOT": str(root)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{stage} failed\n{done.stderr[-3000:]}")
    made = [r for r in list_records(open_store(root / "artifacts")) if r.stage == stage]
    return sum(r.seconds for r in made), sum(f.size_bytes for r in made for f in r.files)


def sent_bytes(client: Client) -> int:
    """Return the bytes that the workers have sent to each other and to whoever asked."""

    def count(dask_worker: Any) -> int:
        return int(dask_worker.transfer_outgoing_bytes_total)

    return sum(client.run(count).values())


def measure_stages(client: Client, text: Path, workers: int) -> None:
    """Print the seconds of counting and merging, and the bytes moved, by runner."""
    corpus = [f"corpus.train={text}", f"corpus.valid={text}"]
    runners = {
        "one thread": ["run.workers=1"],
        "threads": [f"run.workers={workers}"],
        "dask": ["run.runner=dask", f"run.dask_address={client.scheduler.address}"],
    }
    with TemporaryDirectory(dir=text.parent) as folder:
        root = Path(folder)
        build("download", corpus, root)
        for runner, settings in runners.items():
            sent = sent_bytes(client)
            count_s, parts_bytes = build("count_pretokens", [*corpus, *settings], root)
            sent_counting = sent_bytes(client) - sent
            train_s, _ = build("train_tokenizer", [*corpus, *settings], root)
            sent_adding = sent_bytes(client) - sent - sent_counting
            print_result(
                {
                    "runner": runner,
                    "count_seconds": round(count_s, 2),
                    "train_tokenizer_seconds": round(train_s, 2),
                    "parts_mb": round(parts_bytes / 1e6, 2),
                    "sent_mb_counting": round(sent_counting / 1e6, 2),
                    "sent_mb_adding_up": round(sent_adding / 1e6, 2),
                }
            )


def main() -> None:
    """Start a cluster of this machine and measure with it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, required=True, help="a plain text of some 100 MB")
    parser.add_argument("--workers", type=int, default=2, help="processes, and threads")
    options = parser.parse_args()
    with (
        LocalCluster(
            n_workers=options.workers, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        measure_overhead(client, options.workers)
        measure_stages(client, options.text.resolve(), options.workers)


if __name__ == "__main__":
    main()
