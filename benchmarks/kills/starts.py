"""Data roots as they are before each stage of an undisturbed run: where chains start."""

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kills.attempts import fork_attempt
from benchmarks.kills.moments import Moments
from flows.stage_names import stage_names


@dataclass(frozen=True)
class Start:
    """A data root before a stage, and what an attempt does until the stage is built."""

    stage: str
    folder: Path
    changes: int
    seconds: float


def make_starts(root: Path, folder: Path, settings: list[str]) -> list[Start]:
    """Build one stage after the other over a data root, and keep a copy before each of them.

    The copies go back to the same path: MLflow's database names it.
    """
    starts = []
    root.mkdir(parents=True)
    for stage in stage_names():
        shutil.copytree(root, folder / stage)
        moments = Moments()
        began = time.monotonic()
        pid = fork_attempt(root, settings, moments, only=stage)
        _, status = os.waitpid(pid, 0)
        if status:
            raise RuntimeError(f"{stage} failed; see {root / 'attempts.log'}")
        seconds = time.monotonic() - began
        starts.append(Start(stage, folder / stage, moments.last().number, seconds))
    return starts


def restore(start: Start, root: Path) -> None:
    """Make a data root anew as it is before a stage."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(start.folder, root)
