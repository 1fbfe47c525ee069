"""A store that somebody else wrote makes its reader write, move and read nothing elsewhere."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from artifacts import filesystem
from artifacts.building.handover import take_over
from artifacts.building.mirror import restore_newest
from artifacts.building.staging import staged_parts
from artifacts.lease.waiting import wait_for_lease
from artifacts.published.checking import check, quarantine
from artifacts.published.reading import local_file, local_folder
from artifacts.record import Record, RecordFormatError
from artifacts.store import DamagedRecordError, find_record, open_store, record_path, reference_of
from tests.artifacts.conftest import identity_of
from tests.artifacts.test_names import OUTSIDE

if TYPE_CHECKING:
    from artifacts.store import Store
    from tests.artifacts.conftest import Build

KEY = identity_of()
NUM_FUZZED = 4000


@pytest.fixture(params=["local", "memory"])
def victim(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Give a store below a folder whose other content must not change."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "a").write_bytes(b"precious")
    url = tmp_path / "a/b/store" if request.param == "local" else f"memory://{tmp_path.name}"
    return open_store(url, cache_dir=tmp_path / "cache")


def _write_record(store: Store, document: object) -> None:
    data = json.dumps(document).encode()
    filesystem.write_bytes(store.fs, record_path(store, KEY), data)


@pytest.mark.parametrize("name", OUTSIDE)
def test_name_of_a_file_leads_nowhere(victim: Store, build: Build, name: str) -> None:
    """The record is damaged, and nothing is read or copied."""
    record = build(victim, {"a": b"a"})
    document = record.to_json()
    document["files"][0]["name"] = name
    _write_record(victim, document)
    with pytest.raises(DamagedRecordError, match="must be relative"):
        local_folder(victim, reference_of(victim, record))
    assert check(victim, KEY).status == "stale"


def test_folder_of_an_artifact_leads_nowhere(victim: Store, build: Build, tmp_path: Path) -> None:
    """Quarantine moves the record, and never what it names elsewhere."""
    record = build(victim, {"a": b"a"})
    for folder in ("../../../victim", "../../../../victim", str(tmp_path / "victim"), "..", "."):
        _write_record(victim, record.to_json() | {"folder": folder})
        assert check(victim, KEY).status == "stale"
        assert quarantine(victim, KEY, "test") is not None
    assert (tmp_path / "victim" / "a").read_bytes() == b"precious"


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9/a", "s3://bucket/a", "a", "file://host/a"])
def test_external_file_is_not_fetched(victim: Store, build: Build, uri: str) -> None:
    """A record names local files only."""
    record = build(victim, {"a": b"a"})
    external = {"name": "train.txt", "uri": uri, "size_bytes": 1, "sha256": "0" * 64}
    _write_record(victim, record.to_json() | {"external_files": [external]})
    with pytest.raises(DamagedRecordError, match="must be an absolute path"):
        local_file(victim, reference_of(victim, record), "train.txt")


@pytest.mark.parametrize("place", ["/dev/zero", "/", "/proc/self/mem"])
def test_external_file_that_is_none_does_not_hang(victim: Store, build: Build, place: str) -> None:
    """A device or a folder is stale, after no reading."""
    record = build(victim, {"a": b"a"})
    external = {"name": "train.txt", "uri": place, "size_bytes": 1, "sha256": "0" * 64}
    _write_record(victim, record.to_json() | {"external_files": [external]})
    assert check(victim, KEY).status == "stale"


@pytest.mark.parametrize("name", ["/tmp/a", "../../../victim/a", "..", "a\0"])
def test_staged_notes_and_mirrors_lead_nowhere(victim: Store, name: str, tmp_path: Path) -> None:
    """What cannot be a note is as if it were not there."""
    entry = {"name": name, "size_bytes": 8, "sha256": "0" * 64}
    stamp = {"size_bytes": 8, "mark": ""}
    with wait_for_lease(victim, KEY, owner="me") as held:
        staging = take_over(held)
        folder = f"{victim.root}/.staging/{KEY.place}/{held.attempt}"
        for number, note in enumerate(
            [
                {"entry": entry, "stamp": stamp, "data": "0" * 32},
                {"entry": entry | {"name": "a"}, "stamp": stamp, "data": name},
            ]
        ):
            data = json.dumps(note).encode()
            filesystem.write_bytes(victim.fs, f"{folder}/parts/{number}.json", data)
        data = json.dumps([entry]).encode()
        filesystem.write_bytes(victim.fs, f"{folder}/mirrors/00000001.json", data)
        assert staged_parts(staging) == {}
        assert restore_newest(staging) is None
    assert (tmp_path / "victim" / "a").read_bytes() == b"precious"


_ODD: list[Any] = [
    None,
    True,
    -1,
    7,
    2**70,
    1.5,
    float("inf"),
    "",
    "..",
    "/a",
    "a\0b",
    "\ud800",
    "file:///a",
    "0" * 64,
    [],
    {},
    [[]],
    {"name": "a"},
    {"": {"": []}},
    "x" * 5000,
]


def _mutated(draw: random.Random, value: Any) -> Any:
    """Return a JSON value with one place changed, removed or added."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(sorted(value))
        if draw.random() < 0.1:
            return {name: item for name, item in value.items() if name != key}
        if draw.random() < 0.1:
            return value | {draw.choice(["", "more", key + "x"]): draw.choice(_ODD)}
        return value | {key: _mutated(draw, value[key])}
    if isinstance(value, list) and value and draw.random() < 0.9:
        place = draw.randrange(len(value))
        return [*value[:place], _mutated(draw, value[place]), *value[place + draw.randint(0, 1) :]]
    return draw.choice(_ODD)


def _damaged(draw: random.Random, data: bytes) -> bytes:
    """Return bytes with a few of them changed, cut or doubled."""
    for _ in range(draw.randint(1, 3)):
        place = draw.randrange(len(data) + 1)
        middle = bytes(draw.choices(b'{}[]",:0\\\x00\xff', k=draw.randint(0, 2)))
        data = data[:place] + middle + data[place + draw.randint(0, 3) :]
    return data


def test_any_record_is_read_or_refused(build: Build, tmp_path: Path) -> None:
    """Each of some thousand changed records: accepted, or refused with one of two errors."""
    store = open_store(f"memory://{tmp_path.name}", cache_dir=tmp_path)
    corpus = tmp_path / "corpus.txt"
    corpus.write_bytes(b"abc")
    external = [{"name": "t", "uri": str(corpus), "size_bytes": 3, "sha256": "0" * 64}]
    original = build(store, {"a": b"a", "sub/b": b"b"}, labels={"corpus": "tiny"}).to_json()
    original |= {"external_files": external, "volatile": ["a"]}
    draw, num_read = random.Random(0), 0
    for number in range(NUM_FUZZED):
        document = _mutated(draw, original)
        data = json.dumps(document).encode()
        data = _damaged(draw, data) if number % 3 == 0 else data
        filesystem.write_bytes(store.fs, record_path(store, KEY), data)
        found = _read(store)
        assert len(found) < 3000 if isinstance(found, str) else _is_inside(found), found
        num_read += isinstance(found, Record)
    assert NUM_FUZZED / 20 < num_read < NUM_FUZZED * 0.9


def _read(store: Store) -> Record | str | None:
    try:
        return find_record(store, KEY)
    except (DamagedRecordError, RecordFormatError) as error:
        return str(error)


def _is_inside(record: Record | None) -> bool:
    """Tell whether no name leads out, and the record can be written again."""
    assert record is not None
    root = Path("/store")
    folder = root / record.place / record.folder
    assert all((folder / entry.name).resolve().is_relative_to(folder) for entry in record.files)
    assert all(external.uri.startswith(("/", "file:///")) for external in record.external_files)
    return Record.from_json(json.loads(json.dumps(record.to_json()))) == record
