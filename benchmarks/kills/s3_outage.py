"""A real S3 server is killed in the middle of each stage; another machine takes over.

    python -m benchmarks.kills.s3_outage --data DIR --rounds 2

A round is a new store, with one command per stage. While the command works, the server is killed
and started again. In every other stage the command is killed during the outage, too, and what
replaces it has another data root and other process numbers, as on another machine: it has to wait
until the lease of the dead one runs out, a minute. Prints one JSON line a stage. Exit code 1 if a
command hung, one that took over failed, or the files differ from those of a run on disk.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fsspec

from artifacts.filesystem import names_in
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
    first = start_run(
        data / f"{name}-first", settings, options=("--only", stage), before=OTHER_MACHINE
    )
    while first.poll() is None and not _is_begun(store_at, stage):
        time.sleep(0.05)
    time.sleep(draw.random() * 0.5)
    is_hit = first.poll() is None
    server.kill()
    is_killed = number % 2 == 0
    if is_killed:
        first.kill()  # and with `unshare --kill-child` what it has started
    outage_s = draw.uniform(1.0, 8.0)
    time.sleep(outage_s)
    server.start()
    line: dict[str, Any] = {
        "hit": is_hit,
        "killed": is_killed,
        "outage_s": round(outage_s, 1),
        "first": _status_of(first),
        "problems": [],
    }
    if line["first"] is None:
        line["problems"].append(f"{stage}: the first command hangs")
    if line["first"] != 0:
        began = time.monotonic()
        other = start_run(
            data / f"{name}-other", settings, options=("--only", stage), before=OTHER_MACHINE
        )
        line["other"] = _status_of(other)
        line["other_s"] = round(time.monotonic() - began, 1)
        line["problems"] += (
            [f"{stage}: who takes over ends with {line['other']}"] if line["other"] else []
        )
    return line


def _status_of(process: "subprocess.Popen[str]") -> int | None:
    try:
        return process.wait(TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def _is_begun(store_at: str, stage: str) -> bool:
    """Tell whether somebody has had a lease of the stage."""
    store = open_store(store_at)
    return bool(names_in(store.fs, f"{store.root}/.leases/{stage}"))


if __name__ == "__main__":
    sys.exit(main())
