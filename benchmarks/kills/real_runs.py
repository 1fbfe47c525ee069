"""Whole `owt run` commands over a data root, and what they leave behind."""

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import psutil

from benchmarks.kills.attempts import CHANGES
from tests.tiny_pipeline import TINY, write_corpus

ROOT = Path(__file__).resolve().parents[2]
GRACE_S = 60.0
"""Seconds in which the Prefect server must have ended after the last command over its root."""
RUNNING = {
    "mlflow/mlflow.db": "SELECT run_uuid FROM runs WHERE status = 'RUNNING'",
    "prefect/prefect.db": "SELECT id FROM flow_run WHERE state_type = 'RUNNING'",
}
"""By database: what it shows as running."""


def write_settings(folder: Path) -> list[str]:
    """Write the corpus, and return the settings of a tiny run."""
    corpus = [
        f"corpus.{split}={write_corpus(folder / f'{split}.txt', seed=seed, num_documents=count)}"
        for split, seed, count in [("train", 1, 200), ("valid", 2, 20)]
    ]
    return [*corpus, *TINY, *CHANGES]


def start_run(
    root: Path,
    settings: list[str],
    *,
    output: int | None = None,
    before: tuple[str, ...] = (),
    options: tuple[str, ...] = (),
) -> "subprocess.Popen[str]":
    """Start a command over a data root; without `output`, it writes to a file there.

    Args:
        root: The data root.
        settings: Settings over the smoke preset.
        output: Where it writes to, as `subprocess.Popen` takes it.
        before: The command that starts it.
        options: Further options of `owt run`.
    """
    mine = ("PREFECT_", "MLFLOW_", "OWT_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    given = [word for setting in settings for word in ("--set", setting)]
    root.mkdir(parents=True, exist_ok=True)
    with (root / "attempts.log").open("a") as log:
        return subprocess.Popen(
            [*before, sys.executable, "-m", "flows", "run", "--preset", "smoke", *given, *options],
            cwd=ROOT,
            env=kept | {"OWT_ROOT": str(root)},
            stdin=subprocess.DEVNULL,
            stdout=output or log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def is_at_stage(root: Path, stage: str, since: float) -> bool:
    """Tell whether somebody has taken a stage's lease since a moment, in a store below the root."""
    for note in (root / "artifacts" / ".leases" / stage).glob("*/*.json"):
        with suppress(FileNotFoundError):
            if note.stat().st_mtime >= since:
                return True
    return False


def left_over(root: Path) -> list[str]:
    """Return the processes that outlive the commands over a data root; end them."""
    deadline = time.monotonic() + GRACE_S
    while found := _processes(root):
        if time.monotonic() >= deadline:
            commands = [" ".join(process.cmdline()) for process in found]
            for process in found:
                process.kill()
            return [f"{command} is left" for command in commands]
        time.sleep(0.2)
    return []


def _processes(root: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            is_alive = process.status() != psutil.STATUS_ZOMBIE
            if is_alive and process.environ().get("OWT_ROOT") == str(root):
                found.append(process)
    return found


def shown_as_running(root: Path) -> list[str]:
    """Return the runs that MLflow and Prefect show as running."""
    found = []
    for name, query in RUNNING.items():
        with closing(sqlite3.connect(root / name)) as connection:
            found += [f"{name}: run {run} is left running" for (run,) in connection.execute(query)]
    return found
