"""What a Dask cluster costs on one machine: mapped stages by each runner, bytes, overhead a task.

    python -m benchmarks.bench_cluster --base ../shared/data/openwebtext-train.txt.gz \
        --scratch ../cluster --page benchmarks/results/cluster.md

Makes a text as benchmarks/full_size.py does, and builds `count_pretokens` and `encode_shards` of it
with one thread, with threads, with `distributed` as we use it, and, where prefect-dask is
installed, with its task runner; in turns, so that a busy moment of the machine meets all of them.
Prints a JSON line for each, and writes the tables as a page. One Prefect server serves all, as a
team has it. Takes some seven minutes on two quiet cores.

The bytes are those of the loopback device: what the runner, its workers and Prefect's server say to
each other. Store and text are folders, which a cluster has on S3: their bytes are told apart, and
are the same with every runner. Where others talk on this machine, run it in a network of its own:
`unshare --net sh -c 'ip link set lo up; python -m benchmarks.bench_cluster ...'`.
"""

import argparse
import dataclasses
import gzip
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from artifacts.record import Record
from artifacts.store import list_records, open_store
from benchmarks.cluster_page import Measured, overheads_of, page_of, table_of
from benchmarks.cluster_runners import MAPPED, Runner, runners_of
from benchmarks.corpus_generator import GROWTH, iter_corpus
from benchmarks.result_line import print_result
from flows.cli.serving.servers import ended_by_signals
from flows.settings import prepare_environment

if TYPE_CHECKING:
    from distributed import Client

VALID_BYTES = 10**6


def loopback_bytes() -> int:
    """Return the bytes that went over the loopback device so far."""
    return int(psutil.net_io_counters(pernic=True)["lo"].bytes_sent)


def build(runner: Runner, stage: str, corpus: list[str], store: Path) -> Measured:
    """Build a stage anew and return what it took; its own clock begins after the flow's start."""
    sent = loopback_bytes()
    runner.build(
        preset="openwebtext", overrides=[*corpus, *runner.settings], only=stage, force=[stage]
    )
    made = records_of(store, stage)
    return Measured(
        runner=runner.name,
        stage=stage,
        seconds=round(sum(record.seconds for record in made), 2),
        talk_mb=round((loopback_bytes() - sent) / 1e6, 2),
    )


def records_of(store: Path, stage: str) -> list[Record]:
    """Return the record of a stage; the small text's shards are left out."""
    made = [record for record in list_records(open_store(store)) if record.stage == stage]
    return [record for record in made if record.config.get("split") != "valid"]


def hashes(store: Path) -> dict[str, list[str]]:
    """Return the hashes of what the mapped stages made; every runner must have the same."""
    return {
        record.place: [f.sha256 for f in record.files if f.name not in record.volatile]
        for stage in MAPPED
        for record in records_of(store, stage)
    }


def warm_up(runners: list[Runner], small: Path, store: Path) -> None:
    """Let every process compile or load the kernels, on the small text and in another store."""
    settings = [
        *(f"corpus.{split}={small}" for split in ("train", "valid")),
        f"run.store={store}",
        "tokenizer.range_bytes=100_000",
        "tokenizer.vocab_size=1000",
        "model.vocab_size=1000",
    ]
    runners[0].build(preset="openwebtext", overrides=settings, only="download")
    for runner in runners:
        for stage in runner.stages:
            build(runner, stage, settings, store)


def measure_stages(
    runners: list[Runner], corpus: list[str], store: Path, rounds: int
) -> list[Measured]:
    """Build each stage with each runner, in turns."""
    measured: list[Measured] = []
    expected: dict[str, list[str]] = {}
    for turn in range(rounds):
        for runner in runners:
            for stage in runner.stages:
                found = build(runner, stage, corpus, store)
                measured.append(found)
                print_result({"round": turn + 1, **dataclasses.asdict(found)})
            expected = expected or hashes(store)
            if hashes(store) != expected:
                raise RuntimeError(f"{runner.name} made other bytes than {runners[0].name}")
    return measured


def measure_overhead(runners: list[Runner], rounds: int) -> dict[str, list[float]]:
    """Return the milliseconds of a task that does nothing, by runner."""
    found: dict[str, list[float]] = {runner.name: [] for runner in runners}
    for _ in range(rounds):
        for runner in runners:
            found[runner.name].append(round(1000 * runner.per_task(), 1))
    print_result({"milliseconds_per_task": found})
    return found


def sizes_of(store: Path, text_bytes: int) -> str:
    """Return what goes to and from the store with every runner, as a paragraph."""
    mb = {
        stage: sum(f.size_bytes for record in records_of(store, stage) for f in record.files) / 1e6
        for stage in MAPPED
    }
    ranges = sum(f.name.startswith("part-") for r in records_of(store, MAPPED[0]) for f in r.files)
    return (
        f"{ranges} ranges. With every runner each stage reads the text once\n"
        f"({text_bytes / 1e6:.0f} MB) and writes its artifact: counts {mb[MAPPED[0]]:.1f} MB, "
        f"shards {mb[MAPPED[1]]:.1f} MB."
    )


def make_corpus(base: Path, size_bytes: int, folder: Path) -> list[str]:
    """Write both splits; return the settings that name them."""
    text = gzip.decompress(base.read_bytes()) if base.suffix == ".gz" else base.read_bytes()
    settings = []
    for seed, (split, split_bytes) in enumerate([("train", size_bytes), ("valid", VALID_BYTES)]):
        path = folder / f"{split}.txt"
        with path.open("wb", buffering=2**22) as file:
            for part in iter_corpus(text, GROWTH["web"], size_bytes=split_bytes, seed=seed):
                file.write(part)
        settings.append(f"corpus.{split}={path}")
    return settings


@contextmanager
def cluster_and_server(workers: int) -> Iterator["Client"]:
    """Run one Prefect server and one Dask cluster of this machine."""
    from distributed import Client, LocalCluster
    from prefect.testing.utilities import prefect_test_harness

    with (
        prefect_test_harness(server_startup_timeout=180),
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def measure(base: Path, size_bytes: int, scratch: Path, workers: int, rounds: int) -> str:
    """Measure, print lines, and return the page."""
    root = scratch / "data"
    os.environ |= {"OWT_ROOT": str(root), "PREFECT_LOGGING_LEVEL": "ERROR"}
    prepare_environment(root)  # before Prefect is imported
    store = root / "artifacts"
    corpus = make_corpus(base, size_bytes, scratch)
    with cluster_and_server(workers) as client:
        logging.getLogger("distributed").setLevel(logging.ERROR)
        runners = runners_of(client, workers)
        runners[1].build(preset="openwebtext", overrides=corpus, only="download")
        warm_up(runners, scratch / "valid.txt", scratch / "warm")
        overhead = overheads_of(measure_overhead(runners, rounds))
        stages = table_of(measure_stages(runners, corpus, store, rounds))
        return page_of([stages, sizes_of(store, size_bytes), overhead])


def main() -> None:
    """Measure in a scratch folder of its own, which goes at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True, help="real text, plain or .gz")
    parser.add_argument("--size-mb", type=float, default=1000, help="megabytes of 10**6")
    parser.add_argument("--scratch", type=Path, required=True, help="a folder that is not there")
    parser.add_argument("--workers", type=int, default=2, help="processes, and threads")
    parser.add_argument("--rounds", type=int, default=3, help="times that each is measured")
    parser.add_argument("--page", type=Path, help="Markdown file for the tables")
    options = parser.parse_args()
    scratch = options.scratch.resolve()
    scratch.mkdir(parents=True)
    size_bytes = int(options.size_mb * 10**6)
    try:
        with ended_by_signals():
            base = options.base.resolve()
            page = measure(base, size_bytes, scratch, options.workers, options.rounds)
    finally:
        shutil.rmtree(scratch)
    if options.page:
        options.page.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
