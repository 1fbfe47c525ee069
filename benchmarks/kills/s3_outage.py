"""A real S3 server is killed in the middle of each stage; another machine takes over.

    python -m benchmarks.kills.s3_outage --data DIR --rounds 2

A round is a new store, with one command per stage. While the command works, the server is killed
and started again. In every other stage the command is killed during the outage, too, and what
replaces it has another data root and other process numbers, as on another machine: it has to wait
until the lease of the dead one runs out, a minute. Prints one JSON line a stage. Exit code 1 if a
command hung, one that took over failed or did not wait, or the files differ from those of a run on
disk.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import fsspec

from artifacts.filesystem import names_in, read_bytes
from artifacts.lease.lease import TIME_TO_LIVE_S
from artifacts.store import open_store
from benchmarks.kills.chain import differences, hashes
from benchmarks.kills.real_runs import start_run, write_settings
from flows.stage_names import stage_names
from tests.s3_server import S3Server

TIMEOUT_S = 900.0
OTHER_MACHINE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
"""Process numbers of its own, so that nothing can be told of a process of another machine."""


def main() -> int:
    """Run the rounds; return 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a new folder for data roots")
    parser.add_argument("--rounds", type=int, default=2, help="the second kills in other stages")
    options = parser.parse_args()
    (options.data / "weed").mkdir(parents=True)
    settings = write_settings(options.data)
    on_disk = options.data / "disk"
    if start_run(on_disk, settings).wait(TIMEOUT_S):
        raise RuntimeError(f"the undisturbed run failed; see {on_disk / 'attempts.log'}")
    whole = hashes(open_store(on_disk / "artifacts"))
    server = S3Server(options.data / "weed")
    problems: list[str] = []
    try:
        server.start()
        os.environ |= {
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": server.options["key"],
            "AWS_SECRET_ACCESS_KEY": server.options["secret"],
        }
        fsspec.filesystem("s3", **server.options).mkdir("tests")
        for number in range(options.rounds):
            url = f"s3://tests/round-{number}"
            for count, stage in enumerate(stage_names()):
                line = _stage(
                    options.data, [*settings, f"run.store={url}"], stage, server, count + number
                )
                print(json.dumps({"round": number, "stage": stage, **line}), flush=True)
                problems += line["problems"]
            problems += differences(open_store(url), whole)
    finally:
        server.kill()
    print("\n".join(problems) or "nothing lost")
    return 1 if problems else 0


def _stage(
    data: Path, settings: list[str], stage: str, server: S3Server, number: int
) -> dict[str, Any]:
    """Let one stage be built through an outage; return what was seen."""
    draw = random.Random(f"{stage}/{number}")
    store_at = settings[-1].removeprefix("run.store=")
    name = store_at.rpartition("/")[2]
    first = _command(data / f"{name}-first", settings, stage)
    while first.poll() is None and not _leases(store_at, stage):
        time.sleep(0.05)
    with _namespace(first):
        time.sleep(draw.random() * 0.5)
        line: dict[str, Any] = {
            "hit": first.poll() is None,
            "killed": number % 2 == 0,
            "outage_s": round(draw.uniform(1.0, 8.0), 1),
            "problems": [],
        }
        server.kill()
        if line["killed"]:
            first.kill()  # and with `unshare --kill-child` what it has started
        time.sleep(line["outage_s"])
        server.start()
        line["first"] = _status_of(first)
        if line["first"] is None:
            line["problems"].append(f"{stage}: the first command hangs")
        if line["first"] != 0:
            line["held"] = "held" in _leases(store_at, stage)
            _take_over(_command(data / f"{name}-other", settings, stage), stage, line)
    return line


def _command(root: Path, settings: list[str], stage: str) -> "subprocess.Popen[str]":
    return start_run(root, settings, options=("--only", stage), before=OTHER_MACHINE)


def _namespace(process: "subprocess.Popen[str]") -> AbstractContextManager[object]:
    """Hold the process numbers of a command, so that no later one counts as the same machine.

    Linux gives the number of a namespace that has ended to the next one.
    """
    path = Path(f"/proc/{process.pid}/ns/pid_for_children")
    return path.open() if process.poll() is None else nullcontext()


def _take_over(other: "subprocess.Popen[str]", stage: str, line: dict[str, Any]) -> None:
    began = time.monotonic()
    line["other"] = _status_of(other)
    line["other_s"] = round(time.monotonic() - began, 1)
    if line["other"] != 0:
        line["problems"].append(f"{stage}: who takes over ends with {line['other']}")
    if line["held"] and line["other_s"] < TIME_TO_LIVE_S:
        line["problems"].append(f"{stage}: taken over after {line['other_s']} s, too soon")


def _status_of(process: "subprocess.Popen[str]") -> int | None:
    try:
        return process.wait(TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def _leases(store_at: str, stage: str) -> list[str]:
    """Return the states of the newest notes of the leases of a stage."""
    store = open_store(store_at)
    folder = f"{store.root}/.leases/{stage}"
    states = []
    for name in names_in(store.fs, folder):
        (newest,) = names_in(store.fs, f"{folder}/{name}")[-1:]
        states.append(json.loads(read_bytes(store.fs, f"{folder}/{name}/{newest}"))["state"])
    return states


if __name__ == "__main__":
    sys.exit(main())
