"""What benchmarks/bench_cluster.py measured, as a page."""

import importlib.util
import os
import shlex
import statistics
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

from benchmarks.cluster_runners import STAGES
from flows.settings import code_version
from tasks.execution.environment import processor_name

CHECKOUT = Path(__file__).parents[1]
NOTE = """\
Medians, with the least and the most; the runners take turns. The workers are processes of one
machine and share its cores: this is what a cluster costs, not what more machines bring."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One stage, built once."""

    runner: str
    stage: str
    seconds: float
    talk_mb: float
    """What went over the loopback device meanwhile."""


def table_of(measured: list[Measured]) -> str:
    """Return the medians, each runner beside the first one, as Markdown."""
    lines = [
        "| stage | runner | seconds (least to most) | of one thread | MB over loopback |",
        "|---|---|---:|---:|---:|",
    ]
    for stage in STAGES:
        base = 0.0
        for runner in dict.fromkeys(m.runner for m in measured if m.stage == stage):
            mine = [m for m in measured if (m.stage, m.runner) == (stage, runner)]
            seconds = [m.seconds for m in mine]
            median = statistics.median(seconds)
            base = base or median
            spread = f"{median:.1f} ({min(seconds):.1f} to {max(seconds):.1f})"
            talk = statistics.median(m.talk_mb for m in mine)
            lines.append(f"| {stage} | {runner} | {spread} | {median / base:.2f} | {talk:.1f} |")
    return "\n".join(lines)


def overheads_of(milliseconds: Mapping[str, Sequence[float]]) -> str:
    """Return the medians of a task that does nothing, as Markdown."""
    lines = ["| runner | milliseconds of a task that does nothing |", "|---|---:|"]
    for runner, each in milliseconds.items():
        spread = f"{statistics.median(each):.1f} ({min(each):.1f} to {max(each):.1f})"
        lines.append(f"| {runner} | {spread} |")
    return "\n".join(lines)


def command_line() -> str:
    """Return what was typed, as a block of lines that are not too long."""
    words = f"python -m benchmarks.bench_cluster {shlex.join(sys.argv[1:])}"
    lines = textwrap.wrap(words, 84, break_long_words=False, break_on_hyphens=False)
    return " \\\n".join(f"    {line}" for line in lines)


def page_of(tables: Sequence[str]) -> str:
    """Return the tables as a page that names machine, commit and command."""
    packages = ["prefect", "distributed"]
    packages += ["prefect-dask"] if importlib.util.find_spec("prefect_dask") else []
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    cores = len(os.sched_getaffinity(0))
    return "\n\n".join(
        [
            f"# Counting and encoding by each runner: {cores} cores, {date.today()}",
            f"Commit: `{code_version(CHECKOUT)}`. Processor: {processor_name()}. {versions}.",
            command_line(),
            NOTE,
            *tables,
            "",
        ]
    )
