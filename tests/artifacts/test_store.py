"""Stores open on any URL, list what they hold, and find what a user means."""

from __future__ import annotations

import json
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from artifacts import filesystem
from artifacts.identity import PLACE_DIGITS, Reference
from artifacts.lease.waiting import wait_for_lease
from artifacts.record import ExternalFile
from artifacts.store import (
    DamagedRecordError,
    file_uri,
    find_record,
    list_records,
    open_store,
    record_of,
    record_path,
    reference_of,
    resolve,
    scan_records,
)

if TYPE_CHECKING:
    from artifacts.record import Record
    from artifacts.store import Store
    from tests.artifacts.conftest import Build


@pytest.fixture
def three(store: Store, build: Build) -> list[Record]:
    """Give three artifacts, the oldest first."""
    made = [("encode", 1, "tiny"), ("encode", 2, "tiny"), ("train_lm", 3, "best")]
    return [
        build(
            store,
            {"a": b"a"},
            stage=stage,
            config={"size": size},
            labels={"name": label},
            started_at=f"2026-01-0{size}T00:00:00Z",
        )
        for stage, size, label in made
    ]


def test_local_urls_name_the_same_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path, a relative path and a file URL open the same place."""
    monkeypatch.chdir(tmp_path)
    urls = {open_store(url).url for url in (tmp_path / "a", str(tmp_path / "a"), "a", "./a/")}
    assert urls | {open_store(f"file://{tmp_path}/a").url} == {str(tmp_path / "a")}


def test_opening_creates_nothing(tmp_path: Path) -> None:
    """Looking at a store that does not exist leaves no trace."""
    store = open_store(tmp_path / "a")
    assert list_records(store) == []
    assert list(tmp_path.iterdir()) == []


def test_unknown_protocol_is_refused() -> None:
    """A URL that fsspec cannot open is an error that says what is possible."""
    with pytest.raises(ValueError, match=r"cannot open the artifact store 'nope://a'.*s3://BUCKET"):
        open_store("nope://a")


def test_records_are_listed_newest_first(store: Store, three: list[Record]) -> None:
    """All stages or one, the newest on top."""
    assert list_records(store) == three[::-1]
    assert list_records(store, "encode") == three[1::-1]
    assert list_records(store, "evaluate") == []


def test_damaged_record_is_left_out_of_the_list(
    store: Store, three: list[Record], caplog: pytest.LogCaptureFixture
) -> None:
    """One damaged record does not hide the others, and is reported."""
    filesystem.write_bytes(store.fs, record_path(store, three[0]), b"{")
    with caplog.at_level(logging.WARNING):
        assert list_records(store) == [three[2], three[1]]
    assert "is damaged" in caplog.text
    with pytest.raises(DamagedRecordError, match="quarantine it and build again"):
        find_record(store, three[0])


def test_record_of_another_artifact_is_damaged(store: Store, three: list[Record]) -> None:
    """A record that was copied to the wrong place is not taken for the right one."""
    same_place = Reference("encode", f"{three[0].fingerprint[:PLACE_DIGITS]}{'0' * 48}", "")
    with pytest.raises(DamagedRecordError, match="is that of encode/"):
        find_record(store, same_place)


def test_reference_leads_to_record_and_files(store: Store, build: Build, tmp_path: Path) -> None:
    """A reference is plain JSON, and enough to find the record and to open the files."""
    external = ExternalFile("corpus.txt", str(tmp_path / "corpus.txt"), 1, "0" * 64)
    record = build(store, {"sub/a.bin": b"abc"}, external_files=(external,))
    reference = Reference.from_json(reference_of(store, record).to_json())
    assert record_of(store, reference) == record
    fs, path = filesystem.open_filesystem(file_uri(store, reference, "sub/a.bin"))
    assert filesystem.read_bytes(fs, path) == b"abc"
    assert file_uri(store, reference, "corpus.txt") == external.uri
    with pytest.raises(FileNotFoundError, match=r"has no file 'b'; it has sub/a.bin, corpus.txt"):
        file_uri(store, reference, "b")


def test_reference_to_nothing_says_how_to_make_it(store: Store) -> None:
    """What is not in the store has to be built."""
    with pytest.raises(FileNotFoundError, match='run "owt run --only train_lm"'):
        record_of(store, Reference("train_lm", "0" * 64, ""))


def test_users_words_lead_to_records(store: Store, three: list[Record]) -> None:
    """A stage, a fingerprint's start, a label, and combinations of them find an artifact."""
    old, new, model = three
    for text, expected in {
        "encode": new,
        "train_lm": model,
        old.fingerprint[:6]: old,
        f"encode/{old.fingerprint[:6]}": old,
        old.fingerprint: old,
        "tiny": new,
        "best": model,
        "name=tiny": new,
        "encode/tiny": new,
    }.items():
        assert resolve(store, text) == expected, text


@pytest.mark.parametrize("text", ["evaluate", "", "encode/", "encode/best", "zz", "name=worst"])
def test_words_that_fit_nothing_list_what_there_is(
    store: Store, three: list[Record], text: str
) -> None:
    """The error names what could have been meant."""
    with pytest.raises(ValueError, match="fits no artifact") as caught:
        resolve(store, text)
    is_of_stage = text.startswith("encode/")  # then the other stages' are no answer
    for record in three:
        assert (record.place in str(caught.value)) == (record.stage == "encode" or not is_of_stage)


def test_ambiguous_prefix_is_refused(store: Store, build: Build) -> None:
    """A prefix of several fingerprints is no choice."""
    records = [build(store, {"a": b""}, config={"size": size}) for size in range(17)]
    starts = [record.fingerprint[0] for record in records]
    twice = next(start for start in starts if starts.count(start) > 1)
    with pytest.raises(ValueError, match="fits several artifacts"):
        resolve(store, twice)


def test_empty_store_says_so(store: Store) -> None:
    """Where nothing was built, there is nothing to choose from."""
    with pytest.raises(ValueError, match="there are none"):
        resolve(store, "encode")


@pytest.mark.parametrize(
    "changes",
    [
        {"started_at": 7},
        {"config": "x"},
        {"labels": {"a": 1}},
        {"config": [[[]]]},
        {"stage": "a/b"},
    ],
    ids=str,
)
def test_odd_record_does_not_break_the_list(
    store: Store, three: list[Record], changes: dict[str, object]
) -> None:
    """A field of another type makes one record damaged, and hides no other."""
    document = json.dumps(three[0].to_json() | changes).encode()
    filesystem.write_bytes(store.fs, record_path(store, three[0]), document)
    assert list_records(store) == [three[2], three[1]]


def test_deep_and_endless_json_does_not_break_the_list(store: Store, three: list[Record]) -> None:
    """Python's own recursion is not reached."""
    for document in (b"[" * 100_000, b'{"a":' * 5_000 + b"1" + b"}" * 5_000, b"NaN"):
        filesystem.write_bytes(store.fs, record_path(store, three[0]), document)
        assert list_records(store) == [three[2], three[1]]


def test_folder_in_place_of_a_record_does_not_break_the_list(
    local_store: Store, build: Build
) -> None:
    """It is one damaged record."""
    record = build(local_store, {"a": b"a"})
    Path(local_store.root, "encode_shards", "0" * 16, "record.json").mkdir(parents=True)
    assert list_records(local_store) == [record]
    assert len(list(scan_records(local_store))) == 2


def test_record_with_one_more_field_is_read(store: Store, three: list[Record]) -> None:
    """Later versions add fields, to the record, its files and its inputs."""
    document = three[0].to_json() | {"used_at": "2027-01-01"}
    document["files"][0]["codec"] = "none"
    data = json.dumps(document).encode()
    filesystem.write_bytes(store.fs, record_path(store, three[0]), data)
    found = find_record(store, three[0])
    assert found is not None
    assert (found.files, found.unknown) == (three[0].files, {"used_at": "2027-01-01"})


def test_record_at_the_wrong_place_is_not_listed(store: Store, three: list[Record]) -> None:
    """A copied folder does not give the same artifact twice."""
    data = filesystem.read_bytes(store.fs, record_path(store, three[0]))
    filesystem.write_bytes(store.fs, f"{store.root}/encode/{'0' * 16}/record.json", data)
    assert list_records(store) == three[::-1]


def test_store_that_is_a_file_is_named(tmp_path: Path) -> None:
    """The message says what to do, and not only a number."""
    (tmp_path / "a").write_text("")
    with pytest.raises(NotADirectoryError, match=r"artifact store .*/a is a file; name a folder"):
        open_store(tmp_path / "a")
    below = open_store(tmp_path / "a" / "b")
    with (
        pytest.raises(NotADirectoryError, match="or a folder above it, is a file"),
        wait_for_lease(below, Reference("encode", "0" * 64, ""), owner="me"),
    ):
        pass


@pytest.mark.parametrize(
    "error",
    [PermissionError("Forbidden"), PermissionError(13, "denied"), OSError(30, "read-only")],
    ids=repr,
)
def test_store_without_access_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """A wrong secret of S3 says only "Forbidden"; a read-only disk says only its number."""
    store = open_store(f"memory://{tmp_path.name}")
    key = Reference("encode", "0" * 64, "")

    def refuse(*_: object, **__: object) -> None:
        raise error

    for call in ("ls", "cat_file"):
        monkeypatch.setattr(MemoryFileSystem, call, refuse)
    for look in (partial(find_record, store, key), partial(list_records, store)):
        with pytest.raises(PermissionError, match=r"no access to memory://.*credentials"):
            look()
    with (
        pytest.raises(PermissionError, match="no access to memory://"),
        wait_for_lease(store, key, owner="me"),
    ):
        pass
