"""Records survive JSON, value for value, and damaged ones are told apart."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.identity import Identity, Reference
from artifacts.record import ExternalFile, FileEntry, Record, RecordFormatError

NAMES = st.text(min_size=1, max_size=8)
STAGES = st.sampled_from(["download", "train_lm", "a1"])
FOLDERS = st.sampled_from(["attempt-0f", "a_b"])
PATHS = st.sampled_from(["a", "sub/b", "ä b#%", "..c", ".d", "1/2/3"])
SIZES = st.integers(0, 2**50)
HASHES = st.text("0123456789abcdef", min_size=64, max_size=64)
RECORDS = st.builds(
    Record,
    stage=STAGES,
    stage_version=st.integers(1, 9),
    fingerprint=HASHES,
    config=st.dictionaries(NAMES, st.integers() | st.text() | st.none()),
    inputs=st.dictionaries(NAMES, st.builds(Reference, STAGES, HASHES, NAMES)),
    files=st.lists(
        st.builds(FileEntry, PATHS, SIZES, HASHES), unique_by=lambda entry: entry.name
    ).map(tuple),
    folder=FOLDERS,
    external_files=st.lists(
        st.builds(ExternalFile, st.just("text"), PATHS.map("/{}".format), SIZES, HASHES), max_size=1
    ).map(tuple),
    volatile=st.lists(NAMES).map(tuple),
    labels=st.dictionaries(NAMES, NAMES),
    seconds=st.floats(0, 1e9),
    deterministic=st.booleans(),
    run_ids=st.dictionaries(NAMES, NAMES),
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


@pytest.mark.parametrize("field", ["files", "external_files"])
@pytest.mark.parametrize("value", ["", {}, [1], ["name"], None], ids=repr)
def test_files_are_a_list_of_objects(field: str, value: object) -> None:
    """Nothing else is taken for a list, and an empty text not for an empty one."""
    with pytest.raises(ValueError, match=f"'{field}' must be a list of objects"):
        Record.from_json(_document(**{field: value}))


@given(RECORDS, st.sampled_from(["timings.jsonl", {"a": 1}, 3]))
def test_volatile_files_are_a_list_of_names(record: Record, names: object) -> None:
    """A single name is refused, and is not taken for a list of letters."""
    with pytest.raises(ValueError, match="'volatile' must be a list of names"):
        Record.from_json(record.to_json() | {"volatile": names})


def _document(**changes: object) -> dict[str, Any]:
    """Return the JSON of a small record."""
    record = Record(
        stage="download",
        stage_version=1,
        fingerprint="0" * 64,
        config={"split": "train"},
        inputs={},
        files=(FileEntry("b", 1, "0" * 64),),
        folder="attempt",
        external_files=(ExternalFile("a", "/a", 1, "0" * 64),),
        code_version="v0.1-7-gabc",
    )
    return record.to_json() | changes


def test_record_of_another_format_is_refused_by_its_number() -> None:
    """The message says which version wrote the record, and what to do; 1 had no number."""
    unnumbered = _document()
    del unnumbered["format"]
    for document, number in [(unnumbered, 1), (_document(format=3), 3), (_document(format=""), "")]:
        message = (
            rf"format {number!r} \(written by version v0\.1-7-gabc\).* reads format 2; use that"
        )
        with pytest.raises(RecordFormatError, match=message):
            Record.from_json(document)


def test_unknown_fields_are_kept() -> None:
    """A record of a later version, read and written again by this one, loses nothing."""
    document = _document(gpu_seconds=1.5, unknown="a field's name")
    record = Record.from_json(document)
    assert record.unknown == {"gpu_seconds": 1.5, "unknown": "a field's name"}
    assert record.to_json() == document


def test_fields_with_a_default_may_be_absent() -> None:
    """A record of an earlier version, which did not know a field, still reads."""
    required = ["format", "stage", "stage_version", "fingerprint", "config", "inputs", "files"]
    document = {name: value for name, value in _document().items() if name in [*required, "folder"]}
    record = Record.from_json(document)
    assert (record.external_files, record.run_ids, record.seconds) == ((), {}, 0.0)
    assert record.to_json().keys() == _document().keys()


def test_record_gives_its_identity() -> None:
    """What was fingerprinted can be told from the record."""
    record = Record.from_json(_document())
    config = {"split": "train"}
    assert record.identity == Identity(stage="download", version=1, config=config, inputs={})
    assert record.place == "download/0000000000000000"


def test_file_names_are_published_ones_then_external_ones() -> None:
    """A record knows the names of all its files."""
    assert Record.from_json(_document()).file_names == ["b", "a"]
