"""Compare the tokenizer with its peers, each in its own process, one JSON line a job.

    python -m venv /tmp/peers
    /tmp/peers/bin/pip install tiktoken tokenizers gigatoken gigabpe rustbpe bpeasy snaptokens \
        awkward numpy
    python -m benchmarks.bench_tokenizer --peers-python /tmp/peers/bin/python \
        --text web150=web150.txt --text tokenizer=gpt2 --job train_web

A job's contenders take turns, so that all see the same load of the machine. Every row has medians
of wall and of processor seconds, the ratios to ours, and the peak resident size.
"""

import argparse
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bars import Bar
from benchmarks.result_line import print_result
from benchmarks.tokenizer_jobs import JOBS, Job

CONTENDERS = Path(__file__).with_name("tokenizer_contenders.py")


_ONLY_AVX2 = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx2,+avx,+bmi,+bmi2,+fma,+popcnt,+lzcnt,+sse4.2,+f16c,+cx16,+movbe",
}
FIRST_USE_BAR_S = 0.7


@dataclass(frozen=True)
class Run:
    """What one process took."""

    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    result: int


class ContenderError(Exception):
    """A contender failed, or took longer than the job's limit."""


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
        **(_ONLY_AVX2 if job.without_avx512 and contender == "ours" else {}),
    }
    started = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    timer = threading.Timer(job.limit_s or threading.TIMEOUT_MAX, process.kill)
    timer.start()
    answer = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    timer.cancel()
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ContenderError(
            f"stopped after {job.limit_s:.0f} s"
            if process.returncode == -signal.SIGKILL
            else f"ended with {process.returncode}"
        )
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
    failures: dict[str, str] = dict.fromkeys(options.skip, "left out")
    for turn in range(options.repeats):
        for contender in job.contenders:
            if contender not in failures and (turn == 0 or contender not in job.once):
                try:
                    runs[contender].append(run_contender(job, contender, texts, options))
                except ContenderError as error:
                    if contender == "ours":
                        raise
                    failures[contender] = str(error)
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
        "failed": failures,
        "bars": [bar.to_json() for bar in bars_of_job(name, rows)],
        "load_average": round(os.getloadavg()[0], 1),
        "machine": f"{_processor()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
    }


def _processor() -> str:
    """Return the processor's name and whether it has AVX-512."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor()
    lines = dict(re.findall(r"^([^:\n]+?)\s*: (.*)$", info.read_text(), re.MULTILINE))
    known = "avx512bw" if "avx512bw" in lines.get("flags", "") else "no AVX-512"
    return f"{lines.get('model name', platform.machine())} (model {lines.get('model')}, {known})"


def bars_of_job(name: str, rows: dict[str, dict[str, Any]]) -> list[Bar]:
    """Compare what a job took with its bars."""
    job = JOBS[name]
    threads = "1 thread" if job.threads == 1 else f"{job.threads} threads"
    bars = [
        Bar(f"{name}, {threads}: time, ours / {peer}", rows[peer]["ours_over_it_wall"], most)
        for peer, most in job.time_bars
        if peer in rows
    ]
    bars += [
        Bar(
            f"{name}, {threads}: processor time, ours / {peer}",
            rows[peer]["ours_over_it_cpu"],
            most,
        )
        for peer, most in job.cpu_bars
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
        "v,m=train_bpe(f,270,[]);FastEncoder.from_vocab(v,m).encode(b'low lower');"
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
