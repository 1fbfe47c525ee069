"""Records survive JSON, value for value, and damaged ones are told apart."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.record import ExternalFile, FileEntry, Record, Reference

NAMES = st.text(min_size=1, max_size=8)
SIZES = st.integers(0, 2**50)
HASHES = st.text("0123456789abcdef", min_size=64, max_size=64)
RECORDS = st.builds(
    Record,
    stage=NAMES,
    stage_version=st.integers(1, 9),
    fingerprint=HASHES,
    config=st.dictionaries(NAMES, st.integers() | st.text() | st.none()),
    inputs=st.dictionaries(NAMES, st.builds(Reference, NAMES, HASHES, NAMES)),
    files=st.lists(st.builds(FileEntry, NAMES, SIZES, HASHES)).map(tuple),
    folder=NAMES,
    external_files=st.lists(st.builds(ExternalFile, NAMES, NAMES, SIZES, HASHES)).map(tuple),
    volatile=st.lists(NAMES).map(tuple),
    labels=st.dictionaries(NAMES, NAMES),
    seconds=st.floats(0, 1e9),
    deterministic=st.booleans(),
    mlflow_run_id=st.none() | NAMES,
)


@given(RECORDS)
def test_record_survives_json(record: Record) -> None:
    """What is written to record.json is what is read from it."""
    assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record


@given(RECORDS, st.data())
def test_incomplete_record_is_refused(record: Record, data: st.DataObject) -> None:
    """A record without one of the fields that have no default is damaged."""
    required = ["stage", "stage_version", "fingerprint", "config", "inputs", "files", "folder"]
    document = record.to_json()
    del document[data.draw(st.sampled_from(required))]
    with pytest.raises(ValueError, match="not an artifact record"):
        Record.from_json(document)


@pytest.mark.parametrize("document", [[], None, 1, {"stage": "a"}, {"files": 1}], ids=repr)
def test_other_json_is_refused(document: Any) -> None:
    """JSON that is no record is damaged, whatever its shape."""
    with pytest.raises(ValueError, match="not an artifact record"):
        Record.from_json(document)


def test_file_names_are_published_ones_then_external_ones() -> None:
    """A record knows the names of all its files."""
    record = Record(
        stage="download",
        stage_version=1,
        fingerprint="0" * 64,
        config={},
        inputs={},
        files=(FileEntry("b", 1, ""),),
        folder="attempt",
        external_files=(ExternalFile("a", "/a", 1, ""),),
    )
    assert record.file_names == ["b", "a"]
