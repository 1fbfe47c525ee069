"""The leaderboard on two cores: a training by the clock, its bundle, and the auditor's command."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tiny_pipeline import TINY, write_corpus

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
BUDGET_S = 15


def owt(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run(
        [sys.executable, "-m", "flows", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OWT_ROOT": str(root), "COLUMNS": "400"},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, and the data root of a run on it."""
    folder = tmp_path_factory.mktemp("leaderboard")
    write_corpus(folder / "train.txt", seed=1, num_documents=200)
    write_corpus(folder / "valid.txt", seed=2, num_documents=20)
    settings = [setting for setting in TINY if "steps" not in setting]
    settings += [f"corpus.{split}={folder / split}.txt" for split in ("train", "valid")]
    settings += ["train_lm.warmup_steps=5", "train_lm.precision=fp32", "run.compile=off"]
    words = [word for setting in settings for word in ("--set", setting)]
    minutes = ["--budget-minutes", str(BUDGET_S / 60)]
    done = owt(folder / "data", "run", "--preset", "leaderboard", *minutes, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"verify-entry {folder}/data/entries/" in done.stdout
    return folder


@pytest.fixture
def entry(folder: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, which is all that an auditor gets."""
    (bundle,) = (folder / "data" / "entries").iterdir()
    return Path(shutil.copytree(bundle, tmp_path / "entry"))


def verify(entry: Path, text: Path) -> subprocess.CompletedProcess[str]:
    return owt(entry.parent / "data", "verify-entry", str(entry), "--text", str(text))


def test_the_whole_training_is_within_its_budget_and_its_loss_is_found_again(
    folder: Path, entry: Path
) -> None:
    """The auditor's machine has the entry and the text, and no store."""
    training = json.loads((entry / "entry.json").read_text())["training"]
    assert 60 * training["minutes"] <= BUDGET_S + 1  # a busy machine may be late by a moment
    assert training["budget_minutes"] == BUDGET_S / 60
    metrics = (entry / "model" / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in metrics.splitlines()]
    rates = [line["train/learning_rate"] for line in lines if "train/learning_rate" in line]
    assert rates[-1] < 0.1 * max(rates)
    done = verify(entry, folder / "valid.txt")
    assert done.returncode == 0, done.stderr
    assert "the claim holds" in done.stdout
    assert "note: evaluated at context 16; others are at 512" in done.stdout


def raise_weights(entry: Path) -> None:
    data = bytearray((entry / "model" / "model.safetensors").read_bytes())
    data[-1] ^= 64
    (entry / "model" / "model.safetensors").write_bytes(data)


def overrun(entry: Path) -> None:
    records = json.loads((entry / "lineage.json").read_text())
    next(r for r in records if r["stage"] == "train_lm")["statistics"]["seconds"] = 600.0
    (entry / "lineage.json").write_text(json.dumps(records))


def replace_in(name: str, old: str, new: str) -> Callable[[Path], object]:
    def apply(entry: Path) -> None:
        text = (entry / name).read_text()
        assert old in text
        (entry / name).write_text(text.replace(old, new, 1))

    return apply


@pytest.mark.parametrize(
    ("tamper", "text", "message"),
    [
        (raise_weights, "valid", "model.safetensors is not the file of train_lm/"),
        (replace_in("entry.json", '"loss": ', '"loss": 9'), "valid", "the claim does not hold"),
        (replace_in("tokenizer/owt.json", "gpt2", "cl100k"), "valid", "owt.json is not the file"),
        (lambda entry: (entry / "model" / "config.json").unlink(), "valid", "config.json is miss"),
        (overrun, "valid", "minutes, more than its budget of 0.25"),
        (Path.exists, "train", "the entry is about another validation text"),
    ],
    ids=["weights", "claim", "tokenizer", "missing", "budget", "text"],
)
def test_what_was_changed_is_refused_in_one_line(
    folder: Path, entry: Path, tamper: Callable[[Path], object], text: str, message: str
) -> None:
    """The exit code tells it too."""
    tamper(entry)
    done = verify(entry, folder / f"{text}.txt")
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("encode:")]
    assert message in line
