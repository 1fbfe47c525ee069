"""Signals to a run in a terminal: the first one saves and stops, the second one stops at once."""

import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.cli.serving.stopping import SAME_S
from tests.end_to_end.test_ui import process_environment
from tests.tiny_pipeline import TINY, write_corpus

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
STEPS = 200_000
"""So many that no machine ends them before the Ctrl-C."""
CTRL_C = b"\x03"


class Terminal:
    """`owt run` in a terminal of its own."""

    def __init__(self, data_root: Path, settings: list[str]) -> None:
        words = [word for setting in settings for word in ("--set", setting)]
        self.side, other = pty.openpty()
        self.text = ""
        self.process = subprocess.Popen(
            # `setsid -c` makes the pty the controlling terminal, which turns ^C into a signal.
            ["setsid", "-c", "-w", sys.executable, "-m", "flows", "run", *words],
            cwd=ROOT,
            env=process_environment(data_root) | {"TERM": "xterm", "COLUMNS": "200"},
            stdin=other,
            stdout=other,
            stderr=other,
        )
        os.close(other)

    def read_until(self, pattern: str) -> None:
        """Read what is shown until a pattern occurs in it."""
        while not re.search(pattern, self.text):
            self.text += self._read()

    def read_to_end(self) -> str:
        """Return all that was shown, once the command has ended."""
        try:
            while True:
                self.text += self._read()
        except EOFError:
            self.process.wait()
        return self.text

    def press(self) -> None:
        """Press Ctrl-C."""
        os.write(self.side, CTRL_C)

    def _read(self) -> str:
        try:
            data = os.read(self.side, 65536)
        except OSError:  # what Linux answers when nobody has the other side open
            data = b""
        if not data:
            raise EOFError(self.text[-2000:])
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data.decode(errors="replace"))


def states(data_root: Path) -> set[str]:
    """Return the states of all runs, in MLflow and in Prefect."""
    queries = {
        "mlflow/mlflow.db": ["SELECT status FROM runs"],
        "prefect/prefect.db": ["SELECT state_name FROM flow_run"],
    }
    found = set()
    for name, texts in queries.items():
        with sqlite3.connect(data_root / name) as connection:
            for text in texts:
                found |= {row[0] for row in connection.execute(text)}
    return found


def resumed(data_root: Path, settings: list[str], step: str) -> Terminal:
    """Return a run that has resumed at a step, and trains."""
    run = Terminal(data_root, settings)
    run.read_until(rf"resumed: train_lm at step {step} of {STEPS:,}")
    run.read_until(rf"[1-9][\d,]*/{STEPS:,}|[1-9]\d*/{STEPS}")
    return run


def test_a_signal_saves_and_a_second_one_stops_at_once(tmp_path: Path) -> None:
    """No traceback, no run that stays running, and the next run resumes at the step it says."""
    data_root = tmp_path / "data"
    corpus = write_corpus(tmp_path / "train.txt", seed=0, num_documents=60)
    valid = write_corpus(tmp_path / "valid.txt", seed=1, num_documents=10)
    settings = [*TINY, f"corpus.train={corpus}", f"corpus.valid={valid}"]
    settings += [f"train_lm.max_steps={STEPS}", "train_lm.valid_interval=1000"]

    first = Terminal(data_root, settings)
    first.read_until(rf"[1-9][\d,]*/{STEPS:,}|[1-9]\d*/{STEPS}")
    first.press()
    shown = first.read_to_end()
    assert first.process.returncode == 130
    assert "saving, then stopping; press Ctrl-C again to stop at once" in shown
    (step,) = re.findall(rf"stopped train_lm at step ([\d,]+) of {STEPS:,}", shown)
    assert "resume with: python -m flows run --set tokenizer.vocab_size=300" in shown
    assert not re.search("Traceback|ERROR|Crash", shown), shown
    assert states(data_root) == {"KILLED", "Cancelled"}

    second = resumed(data_root, settings, step)
    os.killpg(second.process.pid, signal.SIGTERM)
    second.process.send_signal(signal.SIGTERM)  # as `timeout` does, after its group's
    shown = second.read_to_end()
    assert second.process.returncode == 130
    (step,) = re.findall(rf"stopped train_lm at step ([\d,]+) of {STEPS:,}", shown)
    assert "Traceback" not in shown
    assert states(data_root) == {"KILLED", "Cancelled"}

    third = resumed(data_root, settings, step)
    third.press()
    time.sleep(SAME_S)
    # Not by the terminal, which drops what it has not shown when Ctrl-C is pressed.
    third.process.send_signal(signal.SIGINT)
    shown = third.read_to_end()
    assert third.process.returncode == 130
    assert re.search("stopped (at once|train_lm)", shown)
    assert "Traceback" not in shown
    assert states(data_root) == {"KILLED", "Cancelled"}
