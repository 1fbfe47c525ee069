"""After a training, what was predicted stands beside what was measured."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from artifacts.store import open_store, resolve
from lm.accounting.flops import training_flops_per_token
from lm.config import ModelConfig
from tasks.execution.training_account import PREDICTED_SECONDS, RESUMED_AT, account_of
from tasks.train_lm import TRAIN_LM
from tests.tiny_pipeline import Run


def fingerprint_of(summary: dict[str, Any]) -> str:
    """Return the fingerprint of the model that a run gave."""
    return str(next(s["fingerprint"] for s in summary["stages"] if s["stage"] == "train_lm"))


def test_a_first_training_has_nothing_to_predict_seconds_from(
    run: Run, data_root: Path, settings: list[str]
) -> None:
    """FLOPs follow from the shape, memory from the plan; the line says both."""
    summary = run(settings)  # in the shared root other tests may have trained the model again
    store = open_store(data_root / "artifacts")
    record = resolve(store, fingerprint_of(summary))
    account = account_of(record)
    model = ModelConfig(**record.config["model"])
    assert account.flops == record.statistics["tokens_seen"] * training_flops_per_token(model)
    assert account.predicted_seconds is None
    assert account.predicted_memory_bytes
    assert account.peak_share
    line = TRAIN_LM.show(store, record).line
    assert f"{account.flops:.3g} FLOPs in" in line
    assert "over all attempts" not in line
    assert "Python and torch included" in line


def test_the_seconds_of_a_resumed_training_are_told_apart(
    first: dict[str, Any], shared_root: Path
) -> None:
    """They are those of all attempts, and the table of stages has those of the last one."""
    store = open_store(shared_root / "artifacts")
    record = resolve(store, fingerprint_of(first))
    statistics = {**record.statistics, "seconds": 99.0, RESUMED_AT: 120}
    line = TRAIN_LM.show(store, replace(record, statistics=statistics)).line
    assert "FLOPs in 99.0 s over all attempts, the last one from step 120" in line


def test_a_training_that_ended_early_is_held_against_its_share(
    first: dict[str, Any], shared_root: Path
) -> None:
    """The prediction is for all steps; half of the tokens are predicted half of the seconds."""
    store = open_store(shared_root / "artifacts")
    record = resolve(store, fingerprint_of(first))
    tokens = record.statistics["tokens_seen"]
    for tokens_seen, expected in ((tokens, 9.0), (tokens // 2, 4.5)):
        statistics = {**record.statistics, "tokens_seen": tokens_seen, PREDICTED_SECONDS: 9.0}
        account = account_of(replace(record, statistics=statistics))
        assert account.predicted_seconds == pytest.approx(expected)
