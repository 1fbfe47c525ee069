"""Compare the tokenizer with its peers, each in its own process, one JSON line a job.

    python -m venv /tmp/peers
    /tmp/peers/bin/pip install tiktoken tokenizers gigatoken gigabpe rustbpe bpeasy numpy
    python benchmarks/bench_tokenizer.py --peers-python /tmp/peers/bin/python \
        --web 150=web150.txt --job train_web

A job's contenders take turns, so that all see the same load of the machine. Every row has medians
of wall and of processor seconds, the ratios to ours, and the peak resident size.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONTENDERS = Path(__file__).with_name("tokenizer_contenders.py")


@dataclass(frozen=True)
class Job:
    """One row of the table: who does what with which text."""

    action: str
    text: str
    """Name of the text, as given with --text."""

    contenders: tuple[str, ...]
    threads: int = 1
    vocab_size: int = 0
    calls: int = 0
    """Calls in one warm process; 0: whole processes are timed."""

    limits_mb: tuple[tuple[str, float], ...] = ()
    """Contenders too slow for the whole text: they take so much, and are scaled up."""


_TRAINERS = ("ours", "gigabpe", "gigatoken")
_ENCODERS = ("ours", "gigatoken", "tiktoken")
JOBS = {
    "train_web": Job("train", "web150", (*_TRAINERS, "rustbpe", "bpeasy"), vocab_size=32_000),
    "train_call": Job("train", "standin", _TRAINERS, vocab_size=32_000, calls=1),
    "train_stories": Job("train", "stories2200", _TRAINERS, vocab_size=10_000),
    "train_stories_2": Job("train", "stories2200", _TRAINERS, vocab_size=10_000, threads=2),
    "train_ties_owt": Job("train", "openwebtext", _TRAINERS, vocab_size=32_000, calls=3),
    "train_ties_random": Job("train", "random_words", _TRAINERS, vocab_size=20_000, calls=3),
    "train_web_12000": Job("train", "web12000", ("ours",), vocab_size=32_000, threads=2),
    "encode_web": Job("encode", "web1000", _ENCODERS, limits_mb=(("tiktoken", 60),)),
    "encode_call": Job("encode", "web150", ("ours", "gigatoken"), calls=1),
    "encode_call_2": Job("encode", "web150", ("ours", "gigatoken"), calls=1, threads=2),
    "encode_web_12000": Job("encode", "web12000", ("ours",), threads=2),
}


@dataclass(frozen=True)
class Run:
    """What one process took."""

    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    result: int


def run_contender(
    job: Job, contender: str, texts: dict[str, Path], options: argparse.Namespace
) -> Run:
    """Run one contender once in a fresh process."""
    python = sys.executable if contender == "ours" else options.peers_python
    limit = dict(job.limits_mb).get(contender, 0.0)
    command = [python, str(CONTENDERS), job.action, contender]
    command += ["--input", str(texts[job.text]), "--warm-up", str(texts["small"])]
    command += ["--calls", str(job.calls), "--threads", str(job.threads)]
    command += ["--vocab-size", str(job.vocab_size), "--tokenizer", str(texts["tokenizer"])]
    command += ["--output", str(texts["output"]), "--limit-mb", str(limit)]
    root = str(CONTENDERS.parents[1])
    environment = {
        **os.environ,
        "PYTHONPATH": root if contender == "ours" else "",
        "RAYON_NUM_THREADS": str(job.threads),
    }
    started = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    answer = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{contender} failed at {job.action} with {process.returncode}")
    report = json.loads(answer.splitlines()[-1])
    cpu = usage.ru_utime + usage.ru_stime
    if job.calls:
        wall = statistics.median(call[0] for call in report["calls"])
        cpu = statistics.median(call[1] for call in report["calls"])
    scale = texts[job.text].stat().st_size / (limit * 10**6) if limit else 1.0
    return Run(wall * scale, cpu * scale, usage.ru_maxrss * 1024, int(report["result"]))


def run_job(name: str, texts: dict[str, Path], options: argparse.Namespace) -> dict[str, Any]:
    """Run a job's contenders in turns and summarize."""
    job = JOBS[name]
    runs: dict[str, list[Run]] = {contender: [] for contender in job.contenders}
    for _ in range(options.repeats):
        for contender in job.contenders:
            if contender not in options.skip:
                runs[contender].append(run_contender(job, contender, texts, options))
    ours_wall = statistics.median(run.wall_s for run in runs["ours"])
    ours_cpu = statistics.median(run.cpu_s for run in runs["ours"])
    rows = {}
    for contender, done in runs.items():
        if not done:
            continue
        wall = statistics.median(run.wall_s for run in done)
        cpu = statistics.median(run.cpu_s for run in done)
        rows[contender] = {
            "wall_s": round(wall, 3),
            "cpu_s": round(cpu, 3),
            "mb_per_s": round(texts[job.text].stat().st_size / 1e6 / wall, 1),
            "peak_rss_mb": round(max(run.peak_rss_bytes for run in done) / 1e6),
            "result": done[-1].result,
            "ours_over_it_wall": round(ours_wall / wall, 3),
            "ours_over_it_cpu": round(ours_cpu / cpu, 3),
        }
    return {
        "job": name,
        "text_mb": round(texts[job.text].stat().st_size / 1e6, 1),
        "threads": job.threads,
        "vocab_size": job.vocab_size,
        "repeats": options.repeats,
        "timed": "warm call" if job.calls else "whole process",
        "contenders": rows,
        "load_average": round(os.getloadavg()[0], 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
    }


def first_use(options: argparse.Namespace) -> dict[str, Any]:
    """Time imports and kernel load in fresh processes: count, train, encode a tiny text."""
    code = (
        "import pathlib,tempfile;from tokenizer.train import train_bpe;"
        "from tokenizer.fast_encoder import FastEncoder;"
        "f=pathlib.Path(tempfile.mkdtemp())/'t';f.write_text('low lower lowest');"
        "v,m=train_bpe(f,270,[]);FastEncoder(v,m).encode_bytes(b'low lower')"
    )
    seconds = []
    for _ in range(max(options.repeats, 3)):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, cwd=CONTENDERS.parents[1])
        seconds.append(time.perf_counter() - started)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            cwd=CONTENDERS.parents[1],
            env={**os.environ, "NUMBA_CACHE_DIR": folder},
        )
        compile_s = time.perf_counter() - started
    return {
        "job": "first_use",
        "cached_s": round(statistics.median(seconds), 3),
        "fastest_cached_s": round(min(seconds), 3),
        "first_ever_with_compile_s": round(compile_s, 1),
        "load_average": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    """Run the wanted jobs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers-python", default="", help="Python of the peers' environment")
    parser.add_argument("--text", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--job", action="append", choices=["first_use", *JOBS], default=[])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--skip", action="append", default=[], help="a contender to leave out")
    options = parser.parse_args()
    texts = {name: Path(path) for name, path in (text.split("=", 1) for text in options.text)}
    with tempfile.TemporaryDirectory() as folder:
        texts |= {"output": Path(folder) / "ids.npy", "small": Path(folder) / "small.txt"}
        texts["small"].write_text("low lower lowest, it's 1234 words. " * 2000)
        for name in options.job or ["first_use", *JOBS]:
            if name == "first_use":
                print(json.dumps(first_use(options)), flush=True)
            elif JOBS[name].text in texts:
                print(json.dumps(run_job(name, texts, options)), flush=True)


if __name__ == "__main__":
    main()
