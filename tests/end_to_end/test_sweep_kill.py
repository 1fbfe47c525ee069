"""A sweep that is killed while it trains: the next one trains what is missing, and no more."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from artifacts.store import list_records, open_store
from tests.end_to_end.test_ui import process_environment
from tests.tiny_pipeline import TINY, write_corpus

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CHANGES = (
    "train_lm.max_steps=1000",
    "train_lm.log_interval=500",
    "train_lm.valid_interval=1000",
    "run.checkpoint_steps=100",
)


def start_sweep(data_root: Path, settings: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a sweep of three seeds."""
    words = [word for setting in settings for word in ("--set", setting)]
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "flows", "sweep", "seeds", "--seeds", "3", *words],
            cwd=ROOT,
            env=process_environment(data_root),
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def models(data_root: Path) -> dict[str, str]:
    """Return the moment at which each model was begun."""
    store = open_store(data_root / "artifacts")
    return {record.place: record.started_at for record in list_records(store, "train_lm")}


def has_checkpoints_of_the_second(data_root: Path) -> bool:
    """Tell whether one model is done and the next one has saved several checkpoints."""
    places = {*models(data_root)}
    staged = (data_root / "artifacts" / ".staging").glob("train_lm/*/**/checkpoints/step-*")
    try:
        unfinished = [path for path in staged if not any(place in str(path) for place in places)]
    except FileNotFoundError:  # a checkpoint went while it was listed
        return False
    return len(places) == 1 and any(int(path.name[5:]) >= 300 for path in unfinished)


def test_a_sweep_killed_in_a_trial_completes_with_the_finished_trials_untouched(
    tmp_path: Path,
) -> None:
    """The first trial is not trained again; the second one resumes from its checkpoint."""
    data_root, log = tmp_path / "data", tmp_path / "log"
    corpus = write_corpus(tmp_path / "train.txt", seed=0, num_documents=60)
    valid = write_corpus(tmp_path / "valid.txt", seed=1, num_documents=10)
    settings = [*TINY, f"corpus.train={corpus}", f"corpus.valid={valid}", *CHANGES]

    killed = start_sweep(data_root, settings, log)
    while not has_checkpoints_of_the_second(data_root):
        assert killed.poll() is None, log.read_text()
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    before = models(data_root)
    assert len(before) == 1

    assert start_sweep(data_root, settings, log).wait() == 0, log.read_text()
    after = models(data_root)
    assert len(after) == 3
    assert before.items() <= after.items()
    assert "resumed: train_lm at step" in log.read_text()
    result = next((data_root / "artifacts" / "sweep").glob("*/*/sweep.json"))
    trials = json.loads(result.read_text())["trials"]
    assert [trial["status"] for trial in trials] == ["finished"] * 3
    assert [trial["tokens"] for trial in trials] == [1000 * 4 * 16] * 3
