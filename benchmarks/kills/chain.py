"""One chain: attempts over one data root that are killed, then one that finishes; what is checked.

A chain starts before a stage; what comes before it is there, undisturbed.

Nothing that was published may be built again, no finished range may be counted or encoded again,
training may lose no more than the steps since its last checkpoint, and at the end every file is the
one of an undisturbed run, no process is left, and no run is shown as running.
"""

import json
import os
import random
import signal
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from artifacts.published.checking import verify
from artifacts.store import Store, list_records, open_store, published_path
from benchmarks.kills.attempts import CHECKPOINT_STEPS, fork_attempt
from benchmarks.kills.moments import Moments
from benchmarks.kills.starts import Start, restore
from benchmarks.kills.stop import wake_after_a_rival

Chain = dict[str, Any]
"""A line of the log: plain JSON."""
Hashes = dict[str, str]
"""Hash of each published file, by its place."""

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGSTOP)
ATTEMPT_TIMEOUT_S = 600.0
GRACE_S = 3.0
"""Seconds in which the processes that an attempt has started must have ended after it."""
PAUSE_S = 0.2
"""Seconds for which a suspended process sleeps if nobody takes over."""
MAPPED = ("count_pretokens", "encode_shards")


def run_chain(
    root: Path, settings: list[str], *, start: Start, kills: int, draw: random.Random, whole: Hashes
) -> Chain:
    """Kill so many attempts, let the next one finish, and return what was seen.

    Args:
        root: The data root, which is made anew.
        settings: Settings over the smoke preset.
        start: What is there already.
        kills: How many attempts are killed, unless one of them finishes.
        draw: Draws signals and moments.
        whole: The files of an undisturbed run.
    """
    restore(start, root)
    made: list[Chain] = []
    chain: Chain = {"start": start.stage, "kills": made, "problems": []}
    kept = _inodes(open_store(root / "artifacts"))
    began = time.monotonic()
    left = _Left(start.changes, start.seconds)
    for _ in range(kills):
        kill, problems = _killed_attempt(root, settings, draw, left)
        chain["problems"] += problems
        if kill["delivered"]:
            made.append(kill)
        chain["problems"] += _lost(root, kept)
        if kill["ended"] == "finished":
            break
    chain["problems"] += finish(fork_attempt(root, settings, Moments()))
    store = open_store(root / "artifacts")
    chain["problems"] += _lost(root, kept)
    chain["problems"] += differences(store, whole)
    chain["problems"] += _running(root / "mlflow" / "mlflow.db")
    chain["seconds"] = round(time.monotonic() - began, 2)
    return chain


@dataclass
class _Left:
    """What an attempt has still to do of a stage, roughly: so that signals come before its end."""

    changes: int
    seconds: float

    def after(self, changes: int, seconds: float) -> None:
        self.changes = max(30, self.changes - changes)
        self.seconds = max(3.0, self.seconds - seconds)


def _killed_attempt(
    root: Path, settings: list[str], draw: random.Random, left: _Left
) -> tuple[Chain, list[str]]:
    """Start an attempt, send it a signal at a random or chosen moment, and wait for its end."""
    number = draw.choice(SIGNALS)
    chosen = int(left.changes * draw.random()) if draw.random() < 0.7 else -1
    moments = Moments(chosen, number)
    began = time.monotonic()
    pid = fork_attempt(root, settings, moments)
    status = None
    kill: Chain = {"signal": number.name, "chosen": chosen >= 0, "delivered": True}
    if chosen < 0:
        # Squared: early moments leave more for the next kill of the chain.
        status = _wait(pid, left.seconds * draw.random() ** 2)
        if status is None:
            os.kill(pid, number)
        kill["delivered"] = status is None
    problems: list[str] = []
    if status is None:
        status = _wait(pid, ATTEMPT_TIMEOUT_S, stopped_too=True)
    left.after(moments.last().number, time.monotonic() - began)
    if chosen >= 0:
        kill["delivered"] = moments.last().number >= chosen
    if status is not None and os.WIFSTOPPED(status):
        kill["rival"] = draw.random() < 0.5
        if kill["rival"]:
            problems += wake_after_a_rival(pid, root, settings)
            status = _wait(pid, ATTEMPT_TIMEOUT_S)
        else:
            status = _wake_and_kill(pid, draw)
    moment = moments.last()
    kill |= {"stage": moment.stage, "what": moment.what, "change": moment.number}
    kill["ended"] = "finished" if status == 0 else "killed"
    kill["status"] = status
    if status is None:
        problems.append(f"{pid} hangs after {number.name} at {moment}")
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    problems += _left_over(pid)
    steps, checkpoint = _steps(root)
    if steps - checkpoint > CHECKPOINT_STEPS:
        problems.append(f"{steps} steps, but the last checkpoint is that of step {checkpoint}")
    return kill, problems


def _wake_and_kill(pid: int, draw: random.Random) -> int | None:
    """Let a sleeper go on for a moment, so that it does not finish the chain; kill it."""
    time.sleep(PAUSE_S)
    os.kill(pid, signal.SIGCONT)
    status = _wait(pid, draw.random())
    if status is None:
        os.kill(pid, signal.SIGKILL)
        status = _wait(pid, ATTEMPT_TIMEOUT_S)
    return status


def finish(pid: int) -> list[str]:
    """Wait for an attempt that is to finish, and return what is wrong."""
    status = _wait(pid, ATTEMPT_TIMEOUT_S)
    if status is None:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return [f"the last attempt hangs ({pid})"]
    return _left_over(pid) + ([f"the last attempt ended with {status}"] if status else [])


def _wait(pid: int, seconds: float, *, stopped_too: bool = False) -> int | None:
    """Return the status of a process that ended, or stopped, within the time; else `None`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found, status = os.waitpid(pid, os.WNOHANG | (os.WUNTRACED if stopped_too else 0))
        except ChildProcessError:
            return -1
        if found:
            return status
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.005)


def _left_over(pid: int) -> list[str]:
    """Return a problem if the attempt's process group keeps a process; end it."""
    deadline = time.monotonic() + GRACE_S
    while alive := _alive(pid):
        if time.monotonic() >= deadline:
            os.killpg(pid, signal.SIGKILL)
            return [f"{command} outlived its leader {pid}" for command in alive]
        time.sleep(0.02)
    return []


def _alive(group: int) -> list[str]:
    """Return the commands of a group's processes; what is dead and not waited for is left out."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return []
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            is_alive = process.status() != psutil.STATUS_ZOMBIE
            if os.getpgid(process.pid) == group and is_alive:
                found.append(" ".join(process.cmdline()))
    return found


def _lost(root: Path, kept: dict[str, int]) -> list[str]:
    """Return what was done again though it was finished; `kept` remembers what is finished."""
    store = open_store(root / "artifacts")
    now = _inodes(store)
    lost = [f"{name} was made again" for name, inode in kept.items() if now.get(name) != inode]
    kept.update(now)
    return lost


def _inodes(store: Store) -> dict[str, int]:
    """Return the inodes of published files, and of finished ranges: a second name keeps it."""
    found = {}
    for record in list_records(store):
        folder = Path(published_path(store, record))
        for entry in record.files:
            # A file that may be replaced until it is published counts from then on.
            found[f"{record.place}/{entry.name}"] = (folder / entry.name).stat().st_ino
    for stage in MAPPED:
        for note in Path(store.root).glob(f".staging/{stage}/*/*/parts/*.json"):
            with suppress(OSError, ValueError, KeyError):
                name, inode = _part(note)
                found.setdefault(f"{stage}/{note.parents[2].name}/{name}", inode)
    return found


def _part(note: Path) -> tuple[str, int]:
    data = json.loads(note.read_text())
    path = note.parents[1] / "data" / data["data"]
    return data["entry"]["name"], path.stat().st_ino


def _steps(root: Path) -> tuple[int, int]:
    """Return the last step that training logged and the step of its newest checkpoint."""
    works = list((root / "artifacts" / ".staging" / "train_lm").glob("*/*/work"))
    logs = [log.read_text().count('"train/loss"') for w in works for log in w.glob("metrics.jsonl")]
    saved = [
        int(path.name.removeprefix("step-"))
        for work in works
        for path in work.glob("checkpoints/step-*")
        if path.name.removeprefix("step-").isdigit()
    ]
    return max(logs, default=0), max(saved, default=0)


def hashes(store: Store) -> Hashes:
    """Return the hashes of all published files, but for those that may differ."""
    return {
        f"{record.place}/{entry.name}": entry.sha256
        for record in list_records(store)
        for entry in record.files
        if entry.name not in record.volatile
    }


def differences(store: Store, whole: Hashes) -> list[str]:
    """Return what is damaged, and what differs from an undisturbed run."""
    damaged = [
        f"{record.place}: {problem}"
        for record in list_records(store)
        for problem in verify(store, record)
    ]
    found = hashes(store)
    return damaged + [
        f"{name} differs from the undisturbed run"
        for name in sorted(found.keys() | whole.keys())
        if found.get(name) != whole.get(name)
    ]


def _running(database: Path) -> list[str]:
    """Return the runs that MLflow shows as running when all is over."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT run_uuid FROM runs WHERE status = 'RUNNING'").fetchall()
    return [f"run {run} is left running in MLflow" for (run,) in rows]
