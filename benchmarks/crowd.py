"""Many processes on one new data root: each artifact is built once, and all of them finish.

    python -m benchmarks.crowd --data DIR                # 20 flows, forked, beside the time of one
    python -m benchmarks.crowd --data DIR --real         # 8 whole `owt run`

Prints one JSON line. `start_up_s` is what as many flows take that find everything cached; `ratio`
is the rest over the time of one. Exit code 1 if a process failed, or an artifact was built by two.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.kills.attempts import fork_attempt, make_ready, one_thread
from benchmarks.kills.moments import Moments
from benchmarks.kills.real_runs import start_run, write_settings
from flows.cli.serving.shared_server import using_server
from flows.settings import prepare_environment, set_prefect_api_url

BUILT = re.compile(r"^(\w+(?: \w+)?) +built ", re.MULTILINE)
"""A line of the view: the stage, and how it ended."""


def main() -> int:
    """Let many processes begin at once, and tell how they ended."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder for data roots")
    parser.add_argument("--real", action="store_true", help="whole commands, each a new process")
    parser.add_argument("--processes", type=int, default=0, help="0: 20 flows or 8 commands")
    options = parser.parse_args()
    options.data.mkdir(parents=True, exist_ok=True)
    crowd = _commands if options.real else _flows
    line = crowd(options.data, options.processes or (8 if options.real else 20))
    print(json.dumps(line))
    is_once = set(line["built"].values()) == {1}
    return 0 if is_once and set(line["exit_codes"]) == {0} else 1


def _flows(data: Path, count: int) -> dict[str, Any]:
    """Fork flows from a process that has imported everything, as the campaign of kills does."""
    quiet = {"OMP_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
    os.environ.update(quiet, OWT_ROOT=str(data / "server"))
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    prepare_environment(data / "server")
    with using_server(data / "server") as url:
        set_prefect_api_url(url)
        settings = make_ready(data)
        assert one_thread()
        lines = {}
        for name, number in (("one", 1), ("all", count), ("again", count)):
            root = data / ("one" if name == "one" else "all")
            if name != "again":
                shutil.rmtree(root, ignore_errors=True)
            began = time.monotonic()
            pids = [fork_attempt(root, settings, Moments()) for _ in range(number)]
            codes = [os.waitpid(pid, 0)[1] for pid in pids]
            lines[name] = (time.monotonic() - began, codes)
        built = Counter(BUILT.findall((data / "all" / "attempts.log").read_text()))
    one_s, all_s, start_up_s = (lines[name][0] for name in ("one", "all", "again"))
    return {
        "processes": count,
        "exit_codes": lines["all"][1] + lines["again"][1],
        "built": built,
        "one_s": round(one_s, 1),
        "all_s": round(all_s, 1),
        "start_up_s": round(start_up_s, 1),
        "ratio": round((all_s - start_up_s) / one_s, 2),
    }


def _commands(data: Path, count: int) -> dict[str, Any]:
    """Start whole commands at once."""
    settings = write_settings(data)
    root = data / "commands"
    shutil.rmtree(root, ignore_errors=True)
    began = time.monotonic()
    runs = [start_run(root, settings, output=subprocess.PIPE) for _ in range(count)]
    texts = [run.communicate()[0] for run in runs]
    return {
        "processes": count,
        "exit_codes": [run.returncode for run in runs],
        "built": Counter(stage for text in texts for stage in BUILT.findall(text)),
        "all_s": round(time.monotonic() - began, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
