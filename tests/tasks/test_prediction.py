"""Predicted seconds: those of the newest artifact, scaled by the amount of work."""

from pathlib import Path
from typing import Any

import pytest

from artifacts.record import Record
from artifacts.store import list_records, open_store
from tasks.corpus.text import text_bytes
from tasks.prediction import predicted_seconds


@pytest.fixture
def record(first: dict[str, Any], shared_root: Path) -> Record:
    """The record of an artifact that was made from text."""
    return list_records(open_store(shared_root / "artifacts"), "encode_shards")[0]


def test_nothing_is_predicted_without_an_earlier_artifact() -> None:
    """A guess would look like knowledge."""
    assert predicted_seconds([]) is None


def test_twice_the_text_takes_twice_the_time(record: Record) -> None:
    """The newest artifact counts; its own text takes its own time."""
    amount = text_bytes(record)
    assert predicted_seconds([record], amount, text_bytes) == record.seconds
    assert predicted_seconds([record], 2 * amount, text_bytes) == 2 * record.seconds


def test_an_unknown_amount_takes_what_the_newest_took(record: Record) -> None:
    """So does a stage whose work is not measured."""
    assert predicted_seconds([record], None, text_bytes) == record.seconds
    assert predicted_seconds([record], 10**9) == record.seconds
