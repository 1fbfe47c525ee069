"""Predictions: those of the artifact with the nearest amount of work, scaled."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from artifacts.record import Record
from artifacts.store import list_records, open_store
from lm.config import ModelConfig, RunOptions, TrainConfig
from tasks.corpus.text import text_bytes
from tasks.execution.prediction import Outlook, Prediction, predict_work
from tasks.stage import prediction_of
from tasks.train_lm import TrainingSettings, predict
from tasks.train_tokenizer import TRAIN_TOKENIZER
from tokenizer.config import TokenizerConfig

STAGE = "encode_shards"


@pytest.fixture
def record(first: dict[str, Any], shared_root: Path) -> Record:
    """The record of an artifact that was made from text."""
    return list_records(open_store(shared_root / "artifacts"), STAGE)[0]


def outlook(*records: Record) -> Outlook:
    return Outlook(records=records, corpus="x", model=ModelConfig(), options=RunOptions())


def test_nothing_is_predicted_without_an_earlier_artifact() -> None:
    """A guess would look like knowledge."""
    assert predict_work(outlook(), STAGE, 10**9, text_bytes) == Prediction()


def test_twice_the_text_takes_twice_the_time_and_disk(record: Record) -> None:
    """Its own text takes its own time; memory does not grow with the text."""
    amount = text_bytes(record)
    same = predict_work(outlook(record), STAGE, amount, text_bytes)
    twice = predict_work(outlook(record), STAGE, 2 * amount, text_bytes)
    assert same.seconds == record.seconds
    assert twice.seconds == 2 * record.seconds
    assert same.disk_bytes is not None
    assert twice.disk_bytes == 2 * same.disk_bytes
    assert twice.memory_bytes == same.memory_bytes == record.peak_rss_bytes


def test_the_nearest_amount_of_work_is_scaled(record: Record) -> None:
    """What a large text took says more of a large text than what a small one took."""
    large = replace(record, seconds=1000.0, statistics={"size_bytes": 10**9})
    small = replace(record, seconds=1.0, statistics={"size_bytes": 1000})
    found = predict_work(outlook(small, large), STAGE, 2 * 10**9, text_bytes)
    assert found.seconds == 2000.0


def test_a_training_by_the_clock_takes_its_budget() -> None:
    """Its steps are only a bound that no machine reaches, so they predict no work."""
    clock = TrainConfig(max_steps=10**6, max_minutes=90.0)
    found = predict(TrainingSettings(model=ModelConfig(), train_lm=clock), outlook())
    assert (found.seconds, found.flops) == (5400.0, None)


def test_an_unknown_amount_is_not_predicted(record: Record) -> None:
    """The time of another corpus would be wrong by any factor."""
    assert predict_work(outlook(record), STAGE, None, text_bytes).seconds is None


def test_odd_records_end_no_plan(record: Record) -> None:
    """A shared store may hold statistics of another version: nothing is predicted from them."""
    odd = replace(record, stage="train_tokenizer", statistics={})
    sized = replace(outlook(odd), text_bytes={"train": 10**6})
    assert prediction_of(TRAIN_TOKENIZER, TokenizerConfig(), sized) == Prediction()
