"""Tests of `tasks/experiments/trial_files.py`."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from artifacts.identity import Identity, Reference
from artifacts.record import Record
from lm.config import EvaluateConfig, ModelConfig, TrainConfig
from tasks.experiments.sweep_results import CurvePoint
from tasks.experiments.trial_files import TrialFiles, TrialName, keep, read_kept, thinned, trial_of

SHAPE = ModelConfig(
    vocab_size=100, context_length=8, d_model=16, num_layers=1, num_heads=2, d_ff=32
)
TRAIN = TrainConfig(max_steps=30, warmup_steps=0, seed=4)
NAME = TrialName(label="rate 1, seed 4", arm="rate 1", overrides={"a.b": 1}, seed=4)
LINES = [
    {
        "step": step,
        "tokens_seen": 8 * step,
        "train/loss": 4.0 - step / 10,
        "train/learning_rate": 1e-3,
    }
    for step in (10, 20, 30)
]
LINES.append({"step": 30, "tokens_seen": 240, "valid/loss": 1.5})
TIMINGS = [{"step": 20, "perf/elapsed_s": 4.0}, {"step": 20, "perf/elapsed_s": 8.0}]


def record_of(identity: Identity, statistics: dict[str, Any]) -> Record:
    """A record without files."""
    return Record(
        stage=identity.stage,
        stage_version=identity.version,
        fingerprint=identity.fingerprint,
        config=json.loads(json.dumps(dict(identity.config))),
        inputs=dict(identity.inputs),
        files=(),
        folder="attempt-1",
        statistics=statistics,
        run_ids={"mlflow": "of-this-machine"},
        environment={"platform": "of-this-machine", "python": "3"},
    )


@pytest.fixture
def identities() -> tuple[Identity, Identity]:
    """A model and its evaluation."""
    shards = Reference("encode_shards", "a" * 64, "/of-this-machine/shards")
    model = Identity(
        stage="train_lm",
        version=1,
        config={"model": asdict(SHAPE), "train_lm": asdict(TRAIN)},
        inputs={"train": shards},
    )
    inputs = {"model": model.reference("/of-this-machine")}
    evaluation = Identity(
        stage="evaluate", version=1, config=asdict(EvaluateConfig()), inputs=inputs
    )
    return model, evaluation


@pytest.fixture
def files(identities: tuple[Identity, Identity]) -> TrialFiles:
    """A finished trial."""
    trained = {"tokens_seen": 240, "seconds": 12.5, "diverged": False}
    evaluated = {"loss": 1.25, "bits_per_byte": 0.5, "standard_error": 0.01, "unigram_entropy": 3.0}
    logs = {"metrics.jsonl": LINES, "timings.jsonl": TIMINGS}
    return TrialFiles(
        model=record_of(identities[0], trained),
        evaluation=record_of(identities[1], evaluated),
        logs={name: "".join(f"{json.dumps(line)}\n" for line in logs[name]) for name in logs},
    )


def test_a_trial_is_read_off_its_records_and_lines(files: TrialFiles) -> None:
    """Lines of one step are one point; seconds between timings are in proportion."""
    trial = trial_of(files, NAME)
    assert (trial.status, trial.label, trial.seed) == ("finished", NAME.label, 4)
    assert (trial.valid_loss, trial.valid_loss_error, trial.best_valid_loss) == (1.25, 0.01, 1.5)
    assert (trial.tokens, trial.seconds, trial.last_finite_loss) == (240, 12.5, 1.0)
    assert [(point.step, point.seconds) for point in trial.curve] == [
        (10, 4.0),
        (20, 8.0),
        (30, 12.0),
    ]
    assert trial.curve[-1] == CurvePoint(
        step=30, tokens=240, seconds=12.0, train_loss=1.0, valid_loss=1.5, learning_rate=1e-3
    )


def test_a_kept_trial_is_read_on_another_machine(
    files: TrialFiles, identities: tuple[Identity, Identity], tmp_path: Path
) -> None:
    """It gives the same results; nothing of the machine that made it is in the folder."""
    keep(tmp_path, files)
    keep(tmp_path, files)
    kept = read_kept(tmp_path, *identities)
    assert kept is not None
    assert trial_of(kept, NAME) == trial_of(files, NAME)
    texts = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(texts) == 4
    assert not any("of-this-machine" in text for text in texts)


def test_a_kept_trial_is_of_one_model_and_one_way_to_evaluate(
    files: TrialFiles, identities: tuple[Identity, Identity], tmp_path: Path
) -> None:
    """Another model or another evaluation is not there; a damaged one is named."""
    model, evaluation = identities
    keep(tmp_path, files)
    other = replace(evaluation, config={**evaluation.config, "batch_size": 1})
    assert read_kept(tmp_path, model, other) is None
    assert read_kept(tmp_path, replace(model, version=2), evaluation) is None
    next(tmp_path.rglob("model.json")).write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        read_kept(tmp_path, model, evaluation)


@pytest.mark.parametrize("num_points", [5, 1000, 1001, 12_345])
def test_a_curve_has_at_most_a_thousand_points(num_points: int) -> None:
    """Both ends and all validations stay."""
    points = [
        CurvePoint(step=step, tokens=step, seconds=0.0, valid_loss=1.0 if step % 500 == 0 else None)
        for step in range(1, num_points + 1)
    ]
    kept = thinned(points)
    assert len(kept) == min(num_points, len(kept)) <= 1000
    assert len(kept) >= min(num_points, 970)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert [p for p in kept if p.valid_loss] == [p for p in points if p.valid_loss]
