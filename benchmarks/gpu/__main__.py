"""The project on one GPU beside what a user would take instead: `make bench-gpu`.

Each row runs in a process of its own with a time limit and is written as it comes, so that a row
that fails or hangs costs only itself. At the end the bars, as far as their rows were measured.

    python -m benchmarks.gpu --out results.jsonl
    python -m benchmarks.gpu --rows ours-adamw,plain --set products=separate
    python -m benchmarks.gpu --dry      # tiny, on a CPU: proves that every row runs
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.bars import Bar, as_table

ROOT = Path(__file__).resolve().parents[2]

ROWS = {
    "ours-adamw": 70,
    "plain": 50,
    "ours-muon": 70,
    "generate": 60,
    "llama": 50,
    "ours-bare": 50,
    "ours-adamw-again": 40,
    "plain-small": 50,
    "ours-small": 60,
    "plain-large": 60,
    "ours-large": 70,
    "peaks": 30,
}
"""Rows in the order of their worth, and the seconds that each may take."""

SHARED_CACHES = {"ours-adamw-again": "ours-adamw", "ours-bare": "ours-adamw"}
"""Rows that start with the compiled code of another one; the others compile everything."""

Result = dict[str, Any]


def bars_of_rows(results: dict[str, Result]) -> list[Bar]:
    """Return the bars whose rows were measured."""
    bars = []

    def against(
        what: str, ours: str, theirs: str, bar: float, key: str = "tokens_per_second"
    ) -> None:
        if key in results.get(ours, {}) and key in results.get(theirs, {}):
            ratio = results[ours][key] / results[theirs][key]
            bars.append(Bar(what, round(ratio, 3), bar, at_most=False))

    against("training, AdamW, against plain model + compile", "ours-adamw", "plain", 1.10)
    against("training, AdamW, against Llama + compile", "ours-adamw", "llama", 1.20)
    against("training, Muon against AdamW", "ours-muon", "ours-adamw", 0.90)
    against("training loop against the bare step", "ours-adamw", "ours-bare", 0.97)
    against("V 32,000, T 512, batch 64, against plain", "ours-large", "plain-large", 1.10)
    against("batch 8 against plain", "ours-small", "plain-small", 1.5)
    for row, bar, name in (("ours-adamw", 25, "cold"), ("ours-adamw-again", 8, "warm")):
        if "first_step_s" in results.get(row, {}):
            bars.append(Bar(f"first step {name}, s", results[row]["first_step_s"], bar))
    generate = results.get("generate", {})
    for batch_size, bar in ((1, 5), (8, 5), (64, 3)):
        if f"ours_{batch_size}" in generate:
            ratio = generate[f"ours_{batch_size}"] / generate[f"transformers_{batch_size}"]
            what = f"greedy generation, batch {batch_size}, against transformers"
            bars.append(Bar(what, round(ratio, 2), bar, at_most=False))
    return bars


def run_row(name: str, arguments: argparse.Namespace, caches: Path, limit_s: float) -> Result:
    """Measure one row in a process; return its figures, or why there are none."""
    cache = caches / SHARED_CACHES.get(name, name)
    environment = os.environ | {
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
    }
    command = [sys.executable, "-m", "benchmarks.gpu.rows", name]
    command += ["--dry"] if arguments.dry else []
    command += [f"--set={setting}" for setting in arguments.set]
    started = time.perf_counter()
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit_s
        )
    except subprocess.TimeoutExpired:
        return {"row": name, "error": f"not done after {limit_s:.0f} s"}
    wall = {"wall_s": round(time.perf_counter() - started, 1)}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return {"row": name, "error": done.stderr.strip()[-2000:]} | wall
    figures: Result = json.loads(lines[-1])
    return figures | wall


def commit() -> str:
    """Return the commit of the checkout, or an empty string where git cannot tell."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def has_gpu() -> bool:
    """Ask in another process, so that this one holds no memory of the GPU."""
    code = "import torch, sys; sys.exit(0 if torch.cuda.is_available() else 1)"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def main() -> None:
    """Measure all rows that fit the time, print each, and the bars at the end."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", default=",".join(ROWS), help="names, by default all")
    parser.add_argument("--seconds", type=float, default=285.0, help="for all rows together")
    parser.add_argument("--out", type=Path, help="file to which each line is added")
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE")
    parser.add_argument("--dry", action="store_true", help="tiny, on a CPU; proves the script")
    arguments = parser.parse_args()
    if not (arguments.dry or has_gpu()):
        print("no CUDA device: nothing is measured; --dry proves the script on a CPU")
        return
    began, results, about = time.perf_counter(), {}, {"commit": commit()}
    with tempfile.TemporaryDirectory() as caches:
        for name in arguments.rows.split(","):
            left_s = arguments.seconds - (time.perf_counter() - began)
            limit_s = min(ROWS[name], left_s)
            if left_s < 10:
                result: Result = {"row": name, "error": "left out: the time is over"}
            else:
                result = run_row(name, arguments, Path(caches), limit_s)
            results[name] = result
            line = json.dumps(about | result)
            print(line, flush=True)
            if arguments.out is not None:
                with arguments.out.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
    failed = [name for name, result in results.items() if "error" in result]
    if arguments.dry:
        print(f"{len(results) - len(failed)} of {len(results)} rows ran; they measure nothing")
    else:
        print(as_table(bars_of_rows(results)), flush=True)
    if failed:
        raise SystemExit(f"no figure from: {', '.join(failed)}")


if __name__ == "__main__":
    main()
