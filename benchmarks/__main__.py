"""Run every benchmark, one after the other, each printing its JSON lines: `make bench`.

    python -m benchmarks                       # all of it: hours, and 16 GB of generated text
    python -m benchmarks --only model generate

The tokenizer's peers get an environment of their own; the texts are made from the real text. At
the end comes a table of what was measured against the bars.
"""

import argparse
import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

from benchmarks.bars import as_table, bars_of
from benchmarks.tokenizer_texts import all_texts

HERE = Path(__file__).parent
PEERS = (
    *("tiktoken", "tokenizers", "gigatoken", "gigabpe", "rustbpe", "bpeasy", "snaptokens"),
    *("awkward", "numpy"),
)
Lines = list[dict[str, Any]]


def tokenizer(data: Path, work: Path) -> Lines:
    """Time training and encoding against the peers."""
    texts = all_texts(data, work)
    named = [word for name, path in texts.items() for word in ("--text", f"{name}={path}")]
    return _run("bench_tokenizer", "--peers-python", str(_peers_python(work)), *named)


def model(data: Path, work: Path) -> Lines:
    """Time the training step and measure its memory."""
    del data, work
    return [
        *_run("bench_model", "--precision", "bf16"),
        *_run("bench_model", "--precision", "fp32", "--peer-settings", "defaults"),
        *_run("bench_model", "--batch-size", "32", "--memory"),
    ]


def generate(data: Path, work: Path) -> Lines:
    """Time generation with a KV cache."""
    del data, work
    return _run("bench_generate")


def train_loop(data: Path, work: Path) -> Lines:
    """Measure what the training loop costs beyond the bare step."""
    del data, work
    return _run("bench_train_loop")


def recipes(data: Path, work: Path) -> Lines:
    """Compare training recipes by loss per token, then by loss per hour."""
    del work
    per_token = ("--recipes", "adamw", "muon-linear", "--steps", "1000", "--seeds", "0", "1", "2")
    per_hour = ("--recipes", "baseline", "best", "--minutes", "60")
    return [
        *_run("bench_recipes", "--data", str(data), *per_token),
        *_run("bench_recipes", "--data", str(data), *per_hour),
    ]


BENCHMARKS = {
    "tokenizer": tokenizer,
    "model": model,
    "generate": generate,
    "train_loop": train_loop,
    "recipes": recipes,
}


def main() -> None:
    """Run the benchmarks that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), default=list(BENCHMARKS))
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--work", type=Path, default=HERE.parent / "data" / "bench")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        parser.error(f"--data ({arguments.data}) is no folder; name the one with the real texts")
    arguments.work.mkdir(parents=True, exist_ok=True)
    lines: Lines = []
    failures = []
    for name in arguments.only:
        try:
            lines += BENCHMARKS[name](arguments.data, arguments.work)
        except (subprocess.CalledProcessError, ValueError) as error:  # the others' hours count
            failures.append(f"{name}: {error}")
    print(as_table(bars_of(lines)))
    if failures:
        raise SystemExit("\n".join(failures))


def _run(module: str, *words: str) -> Lines:
    """Run a benchmark, show its JSON lines and return them."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *words]
    lines = []
    with subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(json.loads(line))
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return lines


def _peers_python(work: Path) -> Path:
    folder = work / "peers"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PEERS], check=True)
    return python


if __name__ == "__main__":
    main()
