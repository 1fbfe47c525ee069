"""Kill the pipeline at any moment, run it again, and see whether anything was lost.

    python -m benchmarks.kills --data DIR --out docs/studies/kills.jsonl --kills 1000

A chain is one data root: attempts that are killed, up to ten times, then one that may finish. All
that was published must be the bytes of an undisturbed run. A chain starts before one of the
stages, from a copy of a root that was built so far. Attempts are forked from a process that has
imported everything and compiled the kernels, but has started no thread. Writes one JSON line a
chain; a campaign that is started again goes on behind the last one. SIGTERM or Ctrl-C ends it after
the chain that is under way. Ends with a table, also without a new chain (docs/studies/kills.md).
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
from pathlib import Path

from artifacts.store import open_store
from benchmarks.kills.attempts import fork_attempt, make_ready, one_thread
from benchmarks.kills.chain import Chain, differences, finish, hashes, run_chain
from benchmarks.kills.moments import Moments
from benchmarks.kills.report import as_table, read_log
from benchmarks.kills.starts import Start, make_starts
from flows.cli.serving.shared_server import using_server
from flows.settings import prepare_environment, set_prefect_api_url


def main() -> int:
    """Run chains until there were so many kills; return 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder for data roots")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines; added to")
    parser.add_argument("--kills", type=int, default=1000, help="kills in all, earlier ones too")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.data.mkdir(parents=True, exist_ok=True)
    options.out.touch()
    done = read_log(options.out)
    if sum(len(chain["kills"]) for chain in done) < options.kills:
        done += _campaign(options, done)
    print(as_table(done))
    problems = [problem for chain in done if "mended" not in chain for problem in chain["problems"]]
    print("\n".join(problems) or "nothing lost, nothing left")
    return 1 if problems else 0


def _campaign(options: argparse.Namespace, done: list[Chain]) -> list[Chain]:
    # pyarrow's allocator would start a thread of its own.
    quiet = {"OMP_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
    os.environ.update(quiet, OWT_ROOT=str(options.data / "server"))
    # The runs of each data root are in its own MLflow database, whatever this process was told.
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    prepare_environment(options.data / "server")
    made: list[Chain] = []
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: asked.append(number))
    with using_server(options.data / "server") as url:
        set_prefect_api_url(url)
        settings = make_ready(options.data)
        if not one_thread():
            raise RuntimeError("this process has started a thread: a fork would not be sound")
        root = options.data / "chain"
        whole, starts = _undisturbed(options.data, root, settings)
        while sum(len(chain["kills"]) for chain in [*done, *made]) < options.kills and not asked:
            count = len(done) + len(made)
            draw = random.Random(f"{options.seed}/{count}")
            start, kills = starts[count % len(starts)], draw.randint(5, 10)
            chain = run_chain(root, settings, start=start, kills=kills, draw=draw, whole=whole)
            with options.out.open("a") as log:
                log.write(json.dumps({"chain": count, "seed": options.seed, **chain}) + "\n")
            if chain["problems"]:  # what failed is left to be looked at
                shutil.copytree(root, options.data / f"chain-{count}")
            made.append(chain)
            print(f"chain {count}: {len(chain['kills'])} kills {chain['problems']}", flush=True)
    return made


def _undisturbed(data: Path, root: Path, settings: list[str]) -> tuple[dict[str, str], list[Start]]:
    """Return the files of an undisturbed run, and the data roots before each of its stages."""
    for name in ("whole", "chain", "starts"):
        shutil.rmtree(data / name, ignore_errors=True)
    problems = finish(fork_attempt(data / "whole", settings, Moments()))
    whole = hashes(open_store(data / "whole" / "artifacts"))
    starts = make_starts(root, data / "starts", settings)
    problems += differences(open_store(root / "artifacts"), whole)
    if problems:
        raise RuntimeError(f"the undisturbed run failed: {problems}")
    return whole, starts


if __name__ == "__main__":
    sys.exit(main())
