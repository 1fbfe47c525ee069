"""The mapped stages on Dask: same artifacts, whatever dies; only the S3 server is shared."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pytest

from artifacts.store import list_records, open_store
from tests.checkout_copy import ROOT
from tests.free_port import free_port
from tests.s3_server import set_s3_environment
from tests.tiny_pipeline import TINY, built, run_in

pytest.importorskip("distributed", reason="needs the extra dask")
pytestmark = pytest.mark.slow

PRELOAD = ROOT / "tests" / "end_to_end" / "dying_worker.py"


@pytest.fixture
def settings(
    s3_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, corpus: dict[str, Path]
) -> list[str]:
    """A tiny run whose text is on the S3 server, as a cluster needs it."""
    set_s3_environment(s3_options, monkeypatch)
    fs = fsspec.filesystem("s3", **s3_options)
    for split, path in corpus.items():
        fs.put_file(str(path), f"tests/corpus/{split}.txt")
    return [*TINY, *(f"corpus.{split}=s3://tests/corpus/{split}.txt" for split in corpus)]


class Machines:
    """A scheduler and workers, each a process in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self.processes: list[subprocess.Popen[bytes]] = []
        options = ["--host", self.address, "--no-dashboard", "--no-show"]
        self.start("scheduler", options, {})

    def start(self, kind: str, options: list[str], environment: dict[str, str]) -> None:
        """Start a process of the cluster; it knows the code and the S3 server's address."""
        folder = self.folder / f"{kind}-{len(self.processes)}"
        folder.mkdir(parents=True)
        settings = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "2", "PYTHONPATH": str(ROOT)}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", kind, *options],
                cwd=folder,
                env=os.environ | settings | environment,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)

    def start_worker(self, dies_at: str = "") -> None:
        """Start a worker, one that will die if a range is named."""
        options = [self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        if dies_at:
            options += ["--preload", str(PRELOAD)]
        self.start("worker", options, {"OWT_TEST_DIES_AT": dies_at})

    @property
    def num_dead(self) -> int:
        """How many of the processes have ended."""
        return sum(process.poll() is not None for process in self.processes)


@contextmanager
def cluster(folder: Path) -> Iterator[Machines]:
    """Run a cluster's processes until the body ends."""
    machines = Machines(folder)
    try:
        yield machines
    finally:
        for process in machines.processes:
            process.kill()
        for process in machines.processes:
            process.wait()


def hashes(url: str) -> dict[str, dict[str, str]]:
    """Return the files of each artifact that is the same on every machine, with their hashes."""
    return {
        record.place: {
            file.name: file.sha256 for file in record.files if file.name not in record.volatile
        }
        for record in list_records(open_store(url))
    }


def test_a_cluster_gives_the_bytes_of_threads_though_a_worker_dies(
    prefect_server: None, settings: list[str], tmp_path: Path
) -> None:
    """Workers that share nothing but S3; one is killed as it counts, one as it adds counts up."""
    settings = [*settings, "tokenizer.range_bytes=2048"]  # enough parts that each worker adds up
    run_in(tmp_path / "threads")([*settings, "run.store=s3://tests/threads"])
    with cluster(tmp_path / "machines") as machines:
        machines.start_worker()
        machines.start_worker(dies_at="second")
        machines.start_worker(dies_at="sum")
        on_dask = ["run.runner=dask", f"run.dask_address={machines.address}"]
        summary = run_in(tmp_path / "dask")([*settings, *on_dask, "run.store=s3://tests/dask"])
        assert machines.num_dead == 2
    assert len(built(summary)) == len(summary["stages"])
    assert hashes("s3://tests/dask") == hashes("s3://tests/threads")


def test_a_range_that_kills_its_workers_is_named(
    prefect_server: None, settings: list[str], tmp_path: Path
) -> None:
    """It stops the run at the third death, and does not wander through the cluster."""
    with cluster(tmp_path / "machines") as machines:
        for _ in range(4):
            machines.start_worker(dies_at="0")
        on_dask = ["run.runner=dask", f"run.dask_address={machines.address}"]
        with pytest.raises(
            RuntimeError, match=r"count pretokens: 3 workers died .* bytes 0 to \d+"
        ):
            run_in(tmp_path / "dask")([*settings, *on_dask, "run.store=s3://tests/killer"])
        assert machines.num_dead == 3


def test_a_cluster_of_this_machine_needs_no_address(
    prefect_server: None, settings: list[str], tmp_path: Path
) -> None:
    """`run.dask_workers` starts processes for the run, which end with it."""
    run_in(tmp_path / "threads")([*settings, "run.store=s3://tests/threads-again"])
    own = ["run.runner=dask", "run.dask_workers=2", "run.store=s3://tests/own-cluster"]
    run_in(tmp_path / "dask")([*settings, *own])
    assert hashes("s3://tests/own-cluster") == hashes("s3://tests/threads-again")
