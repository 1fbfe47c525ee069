"""A training that is killed or suspended is taken over, and ends in the same bytes."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from artifacts.published.checking import verify
from artifacts.store import open_store, published_path, resolve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
NUM_STEPS = 200

Start = Callable[[Path], "subprocess.Popen[str]"]


@pytest.fixture
def start(settings: list[str]) -> Iterator[Start]:
    """Start `owt run` over a data root; whatever is left of it is killed at the end."""
    started: list[subprocess.Popen[str]] = []
    changes = [f"train_lm.max_steps={NUM_STEPS}", "run.checkpoint_steps=10", "run.device=cpu"]
    options = [word for setting in [*settings, *changes] for word in ("--set", setting)]

    def call(root: Path) -> subprocess.Popen[str]:
        mine = ("PREFECT_", "MLFLOW_", "OWT_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
        process = subprocess.Popen(
            [sys.executable, "-m", "flows", "run", "--preset", "smoke", *options],
            cwd=ROOT,
            env=kept | {"OWT_ROOT": str(root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # so that its server ends with it
        )
        started.append(process)
        return process

    yield call
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()  # closes the pipe, too


def _wait_for_steps(root: Path, process: "subprocess.Popen[str]", num_steps: int) -> None:
    logs = root / "artifacts" / ".staging" / "train_lm"
    while process.poll() is None:
        if any(path.read_text().count("\n") > num_steps for path in logs.glob("*/*/work/met*")):
            return
        time.sleep(0.01)
    raise AssertionError(process.communicate()[0])


def _finished(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output


def _published(root: Path) -> dict[str, bytes]:
    """Return the files of the model that are the same in every run."""
    store = open_store(root / "artifacts")
    record = resolve(store, "train_lm")
    assert verify(store, record) == []
    folder = Path(published_path(store, record))
    names = [entry.name for entry in record.files if entry.name not in record.volatile]
    return {name: (folder / name).read_bytes() for name in names}


def _shown(database: Path, query: str) -> set[str]:
    """Return the states in which a database shows its runs."""
    with closing(sqlite3.connect(database)) as connection:
        return {state for (state,) in connection.execute(query)}


def _silence(root: Path) -> None:
    """Let others take the holder for dead after a second instead of a minute."""
    (path,) = (root / "artifacts" / ".leases" / "train_lm").glob("*/*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"time_to_live_s": 1.0}))


def test_killed_and_suspended_trainings_end_in_the_same_bytes(start: Start, tmp_path: Path) -> None:
    """SIGKILL: taken over at once. SIGSTOP: after the time-out, and the sleeper is told."""
    undisturbed, killed, suspended = (tmp_path / name for name in ("whole", "killed", "suspended"))
    _finished(start(undisturbed))

    first = start(killed)
    _wait_for_steps(killed, first, NUM_STEPS // 3)
    first.kill()
    first.wait()
    assert "waiting for" not in _finished(start(killed))
    assert _published(killed) == _published(undisturbed)
    assert _shown(killed / "mlflow" / "mlflow.db", "SELECT status FROM runs") == {
        "KILLED",
        "FINISHED",
    }
    assert _shown(killed / "prefect" / "prefect.db", "SELECT state_type FROM flow_run") == {
        "CRASHED",
        "COMPLETED",
    }

    sleeper = start(suspended)
    _wait_for_steps(suspended, sleeper, NUM_STEPS // 3)
    os.killpg(sleeper.pid, signal.SIGSTOP)
    _silence(suspended)
    second = start(suspended)
    _wait_for_steps(suspended, second, NUM_STEPS // 2)
    os.killpg(sleeper.pid, signal.SIGCONT)
    told, _ = sleeper.communicate(timeout=300)
    output = _finished(second)
    assert "waiting for" in output
    assert sleeper.returncode != 0
    assert "was lost to" in told
    assert _published(suspended) == _published(undisturbed)
