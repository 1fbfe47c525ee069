"""The shell completes stages, presets, fields and artifacts, without loading what is slow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli import completion

ROOT = Path(__file__).resolve().parents[2]


def test_names_are_completed_from_their_start() -> None:
    """Nothing fits another start."""
    assert completion.complete_stage("train") == ["train_tokenizer", "train_lm"]
    assert completion.complete_preset("tinystories-") == ["tinystories-cpu", "tinystories-best"]
    assert completion.complete_setting("model.num_l") == ["model.num_layers="]
    assert completion.complete_field("nothing") == []


def test_artifacts_of_the_local_store_are_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store's own folders are none; a model is one that was trained."""
    monkeypatch.setenv("OWT_ROOT", str(tmp_path))
    for place in ("download/ab", "train_lm/cd", ".staging/train_lm/ef"):
        record = tmp_path / "artifacts" / place / "record.json"
        record.parent.mkdir(parents=True)
        record.touch()
    assert sorted(completion.complete_artifact("")) == ["download/ab", "train_lm/cd"]
    assert completion.complete_model("") == ["train_lm/cd"]


def test_help_and_completion_load_nothing_slow() -> None:
    """A key press waits for neither Prefect nor torch; nor does the help page."""
    code = (
        "import sys; sys.argv = ['owt', '--help']\n"
        "from flows.cli import main, completion\n"
        "completion.complete_stage(''), completion.complete_setting('')\n"
        "completion.complete_artifact('')\n"
        "try: main.main()\n"
        "except SystemExit: pass\n"
        "slow = {'prefect', 'torch', 'numba', 'mlflow', 'pyarrow'} & set(sys.modules)\n"
        "print('slow:', sorted(slow))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert "slow: []" in done.stdout
