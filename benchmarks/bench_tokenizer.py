"""Compare the tokenizer with its peers, each in its own process, one JSON line a job.

    python -m venv /tmp/peers
    /tmp/peers/bin/pip install tiktoken tokenizers gigatoken gigabpe rustbpe bpeasy numpy
    python -m benchmarks.bench_tokenizer --peers-python /tmp/peers/bin/python \
        --text web150=web150.txt --text tokenizer=gpt2 --job train_web

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

from benchmarks.bars import Bar
from benchmarks.result_line import print_result

CONTENDERS = Path(__file__).with_name("tokenizer_contenders.py")


@dataclass(frozen=True)
class Job:
    """One row of the table: which program does what with which text."""

    action: str
    text: str
    """Name of the text, as given with --text."""

    contenders: tuple[str, ...]
    threads: int = 1
    vocab_size: int = 0
    calls: int = 0
    """Calls in one process whose kernels are loaded; 0: whole processes are timed."""

    limits_mb: tuple[tuple[str, float], ...] = ()
    """Contenders too slow for the whole text: they take so much, and are scaled up."""

    once: tuple[str, ...] = ()
    """Contenders so slow that a single call or process has to do."""

    time_bars: tuple[tuple[str, float], ...] = ()
    """Highest share of a contender's time that ours may take."""

    seconds_bar: float = 0.0
    rss_mb_bar: float = 0.0
    """Highest time and resident size of ours; 0: no bar."""


_TRAINERS = ("ours", "gigabpe", "gigatoken")
_ENCODERS = ("ours", "gigatoken", "tiktoken")
_STORIES_BARS = (("gigabpe", 0.7), ("gigatoken", 0.7))
_TIES_BARS = (("gigabpe", 1.0), ("gigatoken", 0.1))
JOBS = {
    "train_web": Job(
        "train",
        "web150",
        (*_TRAINERS, "rustbpe", "bpeasy"),
        vocab_size=32_000,
        once=("rustbpe", "bpeasy"),
        time_bars=(("gigabpe", 0.8), ("gigatoken", 0.5)),
    ),
    "train_call": Job(
        "train", "standin", _TRAINERS, vocab_size=32_000, calls=1, time_bars=(("gigabpe", 0.8),)
    ),
    "train_stories": Job(
        "train",
        "stories2200",
        _TRAINERS,
        vocab_size=10_000,
        time_bars=_STORIES_BARS,
        rss_mb_bar=1000,
    ),
    "train_stories_2": Job(
        "train",
        "stories2200",
        _TRAINERS,
        vocab_size=10_000,
        threads=2,
        time_bars=_STORIES_BARS,
        rss_mb_bar=1000,
    ),
    "train_ties_owt": Job(
        "train", "openwebtext", _TRAINERS, vocab_size=32_000, calls=3, time_bars=_TIES_BARS
    ),
    "train_ties_random": Job(
        "train",
        "random_words",
        _TRAINERS,
        vocab_size=20_000,
        calls=3,
        once=("gigatoken",),  # minutes
        time_bars=_TIES_BARS,
    ),
    "train_web_12000": Job(
        "train",
        "web12000",
        ("ours",),
        vocab_size=32_000,
        threads=2,
        seconds_bar=180,
        rss_mb_bar=4000,
    ),
    "encode_web": Job(
        "encode",
        "web1000",
        _ENCODERS,
        limits_mb=(("tiktoken", 60),),
        time_bars=(("tiktoken", 1 / 10), ("gigatoken", 1 / 0.9)),
        rss_mb_bar=300,
    ),
    "encode_call": Job(
        "encode", "web150", ("ours", "gigatoken"), calls=1, time_bars=(("gigatoken", 1 / 0.8),)
    ),
    "encode_call_2": Job(
        "encode",
        "web150",
        ("ours", "gigatoken"),
        calls=1,
        threads=2,
        time_bars=(("gigatoken", 1 / 1.2),),
    ),
    "encode_web_12000": Job("encode", "web12000", ("ours",), threads=2, rss_mb_bar=300),
}
FIRST_USE_BAR_S = 0.7


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
    calls = min(1, job.calls) if contender in job.once else job.calls
    command += ["--calls", str(calls), "--threads", str(job.threads)]
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
    for turn in range(options.repeats):
        for contender in job.contenders:
            if contender not in options.skip and (turn == 0 or contender not in job.once):
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
        "timed": "call" if job.calls else "whole process",
        "contenders": rows,
        "bars": [bar.to_json() for bar in bars_of_job(name, rows)],
        "load_average": round(os.getloadavg()[0], 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
    }


def bars_of_job(name: str, rows: dict[str, dict[str, Any]]) -> list[Bar]:
    """Compare what a job took with its bars."""
    job = JOBS[name]
    threads = "1 thread" if job.threads == 1 else f"{job.threads} threads"
    bars = [
        Bar(f"{name}, {threads}: time, ours / {peer}", rows[peer]["ours_over_it_wall"], most)
        for peer, most in job.time_bars
        if peer in rows
    ]
    if job.seconds_bar:
        bars.append(Bar(f"{name}, {threads}: seconds", rows["ours"]["wall_s"], job.seconds_bar))
    if job.rss_mb_bar:
        peak = rows["ours"]["peak_rss_mb"]
        bars.append(Bar(f"{name}, {threads}: peak resident MB", peak, job.rss_mb_bar))
    return bars


def first_use(options: argparse.Namespace) -> dict[str, Any]:
    """Time imports and kernel load in fresh processes: count, train, encode a tiny text.

    The process counts it from its first line; the whole process has Python's start and end too.
    """
    code = (
        "import time;t=time.perf_counter();"
        "import pathlib,tempfile;from tokenizer.training.train import train_bpe;"
        "from tokenizer.encoding.fast import FastEncoder;"
        "f=pathlib.Path(tempfile.mkdtemp())/'t';f.write_text('low lower lowest');"
        "v,m=train_bpe(f,270,[]);FastEncoder(v,m).encode(b'low lower');"
        "print(time.perf_counter()-t)"
    )
    inner, seconds = [], []
    for _ in range(max(options.repeats, 5)):
        started = time.perf_counter()
        process = subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            cwd=CONTENDERS.parents[1],
            stdout=subprocess.PIPE,
        )
        seconds.append(time.perf_counter() - started)
        inner.append(float(process.stdout))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            cwd=CONTENDERS.parents[1],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "NUMBA_CACHE_DIR": folder},
        )
        compile_s = time.perf_counter() - started
    load_s = round(statistics.median(inner), 3)
    return {
        "job": "first_use",
        "imports_and_kernels_s": load_s,
        "whole_process_s": round(statistics.median(seconds), 3),
        "bars": [Bar("first use: imports and kernels, s", load_s, FIRST_USE_BAR_S).to_json()],
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
                print_result(first_use(options))
            elif JOBS[name].text in texts:
                print_result(run_job(name, texts, options))


if __name__ == "__main__":
    main()
