"""Chains of whole `owt run` commands: what they leave behind counts, too.

    python -m benchmarks.kills.real --data DIR --out docs/studies/kills-real.jsonl --kills 100

As `python -m benchmarks.kills`, but each attempt is a new process with a Prefect server of its own,
so it takes many seconds. Each signal comes soon after a stage was begun, one stage further each
time. After a chain no process may be left, and neither MLflow nor Prefect may show a running run.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from artifacts.store import open_store
from benchmarks.kills.chain import SIGNALS, Chain, Hashes, differences, hashes
from benchmarks.kills.real_runs import (
    is_at_stage,
    left_over,
    shown_as_running,
    start_run,
    write_settings,
)
from benchmarks.kills.report import as_table, read_log
from benchmarks.kills.stop import silence
from flows.stage_names import stage_names

TIMEOUT_S = 600.0
SOON_S = 0.5
"""The signal comes within this time after the stage was begun."""


def main() -> int:
    """Run chains until there were so many kills; return 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder for data roots")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines; added to")
    parser.add_argument("--kills", type=int, default=100, help="kills in all, earlier ones too")
    options = parser.parse_args()
    options.data.mkdir(parents=True, exist_ok=True)
    options.out.touch()
    done = read_log(options.out)
    if _num_kills(done) < options.kills:
        settings = write_settings(options.data)
        whole = options.data / "whole"
        shutil.rmtree(whole, ignore_errors=True)
        if start_run(whole, settings).wait(TIMEOUT_S):
            raise RuntimeError(f"the undisturbed run failed; see {whole / 'attempts.log'}")
        expected = hashes(open_store(whole / "artifacts"))
        while _num_kills(done) < options.kills:
            root = options.data / f"chain-{len(done)}"
            shutil.rmtree(root, ignore_errors=True)
            chain = _chain(root, settings, random.Random(f"real/{len(done)}"), expected)
            with options.out.open("a") as log:
                log.write(json.dumps({"chain": len(done), "real": True, **chain}) + "\n")
            if not chain["problems"]:  # what failed is left to be looked at
                shutil.rmtree(root)
            done.append(chain)
            print(f"chain {len(done)}: {len(chain['kills'])} kills {chain['problems']}", flush=True)
    print(as_table(done))
    problems = [problem for chain in done if "mended" not in chain for problem in chain["problems"]]
    print("\n".join(problems) or "nothing lost, nothing left")
    return 1 if problems else 0


def _num_kills(chains: list[Chain]) -> int:
    return sum(len(chain["kills"]) for chain in chains)


def _chain(root: Path, settings: list[str], draw: random.Random, whole: Hashes) -> Chain:
    """Kill a command in each stage, let the last one finish, and return what was seen."""
    began = time.monotonic()
    chain: Chain = {"kills": [], "problems": []}
    for stage in stage_names():
        kill = _killed(root, settings, stage, draw)
        if kill["delivered"]:
            chain["kills"].append(kill)
        if kill["ended"] == "hangs":
            chain["problems"].append(f"hangs after {kill['signal']} in {stage}")
        if kill["ended"] == "finished":
            break
    status = start_run(root, settings).wait(TIMEOUT_S)
    chain["problems"] += [f"the last command ended with {status}"] if status else []
    chain["problems"] += left_over(root)
    chain["problems"] += shown_as_running(root)
    chain["problems"] += differences(open_store(root / "artifacts"), whole)
    chain["seconds"] = round(time.monotonic() - began, 1)
    return chain


def _killed(root: Path, settings: list[str], stage: str, draw: random.Random) -> Chain:
    """Send a command a signal soon after it has begun a stage, and wait for its end."""
    number = draw.choice(SIGNALS)
    since = time.time()
    process = start_run(root, settings)
    while process.poll() is None and not is_at_stage(root, stage, since):
        time.sleep(0.01)
    time.sleep(draw.random() * SOON_S)
    kill: Chain = {"signal": number.name, "chosen": True, "stage": stage, "what": "stage"}
    kill["delivered"] = process.poll() is None
    if kill["delivered"]:
        # To the whole group, as a terminal does, for half of them.
        os.killpg(process.pid, number) if draw.random() < 0.5 else process.send_signal(number)
    if kill["delivered"] and number == signal.SIGSTOP:
        kill["rival"] = draw.random() < 0.5
        if kill["rival"]:
            silence(root)
            start_run(root, settings).wait(TIMEOUT_S)
        os.killpg(process.pid, signal.SIGCONT)
        if not kill["rival"]:
            time.sleep(draw.random())
            process.kill()
    try:
        kill["status"] = process.wait(TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        kill["status"] = process.wait()
        kill["ended"] = "hangs"
        return kill
    kill["ended"] = "killed" if kill["status"] else "finished"
    return kill


if __name__ == "__main__":
    sys.exit(main())
