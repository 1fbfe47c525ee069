"""Once at full size: download, count, merges and encode of gigabytes, through the deployment.

    python -m benchmarks.full_size --base ../shared/data/openwebtext-train.txt.gz \
        --size-mb 12000 --scratch ../full-size

Generates the text, serves it by HTTP on this machine, starts a Prefect server and a process worker,
and gives a user's `prefect deployment run` for one stage after the other, each of which finds the
earlier ones cached. Prints a JSON line for each stage, then one for a run that finds all cached,
then one that has the figures which the design promises something about. The served text is deleted
once it was fetched, and the scratch folder at the end; on the disk it takes 2.5 times the text.
"""

import argparse
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from urllib.error import URLError
from urllib.request import urlopen

import psutil

from artifacts.record import Record
from artifacts.store import list_records, open_store
from benchmarks.corpus_generator import GROWTH, iter_corpus
from benchmarks.result_line import print_result
from tests.deployment_page import end_tree
from tests.free_port import free_port

CHECKOUT = Path(__file__).parents[1]
STAGES = ("download", "count_pretokens", "train_tokenizer", "encode_shards")
VALID_BYTES = 10 * 10**6
LOOK_S = 0.2
"""Seconds between two looks at memory and disk."""


@dataclass
class Peaks:
    """The highest use of memory and disk that was seen, and what the disk held before."""

    worker: psutil.Process
    folder: Path
    disk_before: int
    rss_bytes: int = 0
    disk_bytes: int = 0

    def look(self) -> None:
        """Add up the resident memory of the worker and its runs, which hold all that is done."""
        rss = 0
        for process in [self.worker, *self.worker.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                rss += process.memory_info().rss
        self.rss_bytes = max(self.rss_bytes, rss)
        self.disk_bytes = max(self.disk_bytes, disk_used(self.folder) - self.disk_before)


@contextmanager
def watching(worker: psutil.Process, folder: Path, disk_before: int) -> Iterator[Peaks]:
    """Look at the worker's memory and at the folder's disk until the body ends."""
    peaks, is_over = Peaks(worker, folder, disk_before), Event()

    def look() -> None:
        while not is_over.wait(LOOK_S):
            peaks.look()

    thread = Thread(target=look)
    thread.start()
    try:
        yield peaks
    finally:
        is_over.set()
        thread.join()


def disk_used(folder: Path) -> int:
    """Return the bytes in use on the disk of a folder."""
    return shutil.disk_usage(folder).used


def generate(base: Path, size_bytes: int, folder: Path) -> list[str]:
    """Write both splits into the folder that is served; return the settings that pin them."""
    text = gzip.decompress(base.read_bytes()) if base.suffix == ".gz" else base.read_bytes()
    settings = []
    folder.mkdir()
    for seed, (split, split_bytes) in enumerate([("train", size_bytes), ("valid", VALID_BYTES)]):
        digest = hashlib.sha256()
        with (folder / f"{split}.txt").open("wb", buffering=2**22) as file:
            for part in iter_corpus(text, GROWTH["web"], size_bytes=split_bytes, seed=seed):
                digest.update(part)
                file.write(part)
        settings.append(f"corpus.{split}_sha256={digest.hexdigest()}")
    return settings


@contextmanager
def service(command: list[str], environment: dict[str, str], log: Path) -> Iterator[psutil.Process]:
    """Run a process in the scratch folder until the body ends; then kill it and its children."""
    with log.open("wb") as output:
        process = psutil.Popen(
            [sys.executable, "-m", *command],
            cwd=log.parent,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end_tree(process)


def wait_until_healthy(api_url: str) -> None:
    """Wait until the Prefect server answers."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        with suppress(URLError, OSError):
            urlopen(f"{api_url}/health", timeout=5).close()
            return
        time.sleep(0.5)
    raise TimeoutError(f"no Prefect server at {api_url}; see server.log in the scratch folder")


@contextmanager
def deployment(scratch: Path) -> Iterator[tuple[dict[str, str], psutil.Process]]:
    """Start server and worker, and deploy the flow; give the user's environment and the worker."""
    port = free_port()
    environment = os.environ | {
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_HOME": str(scratch / "prefect"),
        "PREFECT_PLUGINS_ENABLED": "true",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "DO_NOT_TRACK": "true",
        "OWT_ROOT": str(scratch / "data"),
        "PYTHONPATH": str(CHECKOUT),
    }
    server = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    worker = ["prefect", "worker", "start", "--pool", "owt-cpu"]
    with ExitStack() as stack:
        stack.enter_context(service(server, environment, scratch / "server.log"))
        wait_until_healthy(environment["PREFECT_API_URL"])
        subprocess.run(
            [sys.executable, "-m", "flows", "deploy"],
            env=environment,
            cwd=CHECKOUT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        running = stack.enter_context(service(worker, environment, scratch / "worker.log"))
        yield environment, running


def run_stage(stage: str, overrides: list[str], environment: dict[str, str]) -> float:
    """Give a user's command for one stage alone; return its seconds."""
    parameters = {"preset": "openwebtext", "overrides": overrides, "only": stage}
    command = ["prefect", "deployment", "run", "owt-pipeline", "--watch"]
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", *command, "--params", json.dumps(parameters)],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{stage} failed; see worker.log\n{done.stdout[-2000:]}{done.stderr}")
    return time.monotonic() - began


def figures(stage: str, wall_s: float, peaks: Peaks, records: list[Record]) -> dict[str, object]:
    """Return what is said of one stage: of its records, and of the processes around them."""
    made = [record for record in records if record.stage == stage]
    return {
        "stage": stage,
        "stage_seconds": round(sum(record.seconds for record in made), 2),
        "command_seconds": round(wall_s, 1),
        "peak_rss_gb_in_stage": round(max(record.peak_rss_bytes for record in made) / 1e9, 3),
        "peak_rss_gb_of_processes": round(peaks.rss_bytes / 1e9, 3),
        "artifact_gb": round(sum(f.size_bytes for r in made for f in r.files) / 1e9, 3),
        "peak_disk_gb": round(peaks.disk_bytes / 1e9, 3),
    }


def sum_up(size_bytes: int, records: list[Record]) -> dict[str, object]:
    """Return the figures of the laws of scale: bytes a second, and bytes on disk for each token."""
    seconds = {stage: sum(r.seconds for r in records if r.stage == stage) for stage in STAGES}
    shards = [r for r in records if r.stage == "encode_shards"]
    token_bytes = sum(f.size_bytes for r in shards for f in r.files if f.name.endswith(".npy"))
    stored = sum(f.size_bytes for r in records for f in r.files)
    text_bytes = size_bytes + VALID_BYTES
    return {
        "text_gb": round(text_bytes / 1e9, 3),
        "count_mb_per_second": round(size_bytes / 1e6 / seconds["count_pretokens"], 1),
        "encode_mb_per_second": round(text_bytes / 1e6 / seconds["encode_shards"], 1),
        "tokens_gb": round(token_bytes / 1e9, 3),
        "stored_beyond_text_and_tokens_gb": round((stored - text_bytes - token_bytes) / 1e9, 3),
    }


def measure(base: Path, size_bytes: int, scratch: Path) -> None:
    """Run the stages and print their lines."""
    disk_before = disk_used(scratch)
    began = time.monotonic()
    pins = generate(base, size_bytes, scratch / "served")
    print_result({"generated_gb": size_bytes / 1e9, "seconds": round(time.monotonic() - began, 1)})
    port = free_port()
    http = ["http.server", "--bind", "127.0.0.1", "--directory", str(scratch / "served"), str(port)]
    overrides = pins + [
        f"corpus.{split}=http://127.0.0.1:{port}/{split}.txt" for split in ("train", "valid")
    ]
    store = scratch / "data" / "artifacts"
    with ExitStack() as stack:
        served = stack.enter_context(service(http, dict(os.environ), scratch / "http.log"))
        environment, worker = stack.enter_context(deployment(scratch))
        for stage in STAGES:
            with watching(worker, scratch, disk_before) as peaks:
                wall_s = run_stage(stage, overrides, environment)
            records = list_records(open_store(store))
            print_result(figures(stage, wall_s, peaks, records))
            if stage == "download":
                end_tree(served)
                shutil.rmtree(scratch / "served")
        wall_s = run_stage(STAGES[-1], overrides, environment)
        print_result({"stage": "all cached", "command_seconds": round(wall_s, 1)})
        print_result(sum_up(size_bytes, records))


def main() -> None:
    """Measure in a scratch folder of its own, which goes at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True, help="real text, plain or .gz")
    parser.add_argument("--size-mb", type=float, required=True, help="megabytes of 10**6")
    parser.add_argument("--scratch", type=Path, required=True, help="a folder that is not there")
    parser.add_argument("--keep", action="store_true", help="leave the scratch folder there")
    options = parser.parse_args()
    scratch = options.scratch.resolve()
    scratch.mkdir(parents=True)
    try:
        measure(options.base.resolve(), int(options.size_mb * 10**6), scratch)
    finally:
        if not options.keep:
            shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
