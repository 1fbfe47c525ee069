"""A request that fails for a while is tried again; one that stays wrong fails at once."""

import errno
import pickle
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from artifacts import filesystem
from artifacts.patience import TRIES, try_again
from artifacts.store import find_record, open_store, record_path
from tests.artifacts.conftest import Build
from tests.storage_faults import Faults, inject


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that would be slept."""
    slept: list[float] = []
    monkeypatch.setattr("artifacts.patience.time.sleep", slept.append)
    return slept


def test_pauses_grow_and_are_not_the_same_for_two(pauses: list[float]) -> None:
    """Those that failed together do not come back together."""
    answers = iter([ConnectionResetError(), ConnectionResetError(), "done"])

    def call() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    assert try_again(call, first_pause_s=1.0) == "done"
    first, second = pauses
    assert 0.5 <= first <= 1.5
    assert 1.0 <= second <= 3.0


def test_the_last_error_is_raised(pauses: list[float]) -> None:
    """After all tries."""

    def call() -> None:
        raise ConnectionResetError(errno.ECONNRESET, "reset")

    with pytest.raises(ConnectionResetError):
        try_again(call)
    assert len(pauses) == TRIES - 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.ENOENT, errno.EROFS])
def test_what_stays_is_tried_once(number: int, pauses: list[float]) -> None:
    """A full disk is full a second later, too."""

    def call() -> None:
        raise OSError(number, "stays")

    with pytest.raises(OSError, match="stays"):
        try_again(call)
    assert pauses == []


def test_a_read_that_is_cut_off_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, pauses: list[float], build: Build
) -> None:
    """A file by its size; a record because it cannot be read."""
    store = open_store("memory://patience-cut-off")
    record = build(store, {"a": b"content"})
    faults = inject(monkeypatch, Faults(at={"cat_file": ["truncated"]}))
    assert find_record(store, record) == record
    faults.at["cat_file"] = ["truncated"]
    path = record_path(store, record)
    assert b"".join(filesystem.read_blocks(store.fs, path)) == MemoryFileSystem().cat_file(path)


def test_an_upload_that_got_lost_is_repeated(
    monkeypatch: pytest.MonkeyPatch, pauses: list[float], tmp_path: Path
) -> None:
    """The store said yes and has nothing."""
    store = open_store("memory://patience-lost")
    (tmp_path / "file").write_bytes(b"content")
    inject(monkeypatch, Faults(at={"put_file": ["lost"]}))
    filesystem.upload(store.fs, tmp_path / "file", f"{store.root}/file", may_link=False)
    assert filesystem.read_bytes(store.fs, f"{store.root}/file") == b"content"
    assert len(pauses) == 1


@pytest.mark.parametrize("method", ["pipe_file", "cp_file", "rm_file"])
def test_what_a_store_said_and_did_not_do_is_repeated(
    monkeypatch: pytest.MonkeyPatch, pauses: list[float], method: str
) -> None:
    """A small file that is written or created, a copy, and the removal of what was moved."""
    store = open_store(f"memory://patience-not-done-{method}")
    fs, root = store.fs, store.root
    faults = inject(monkeypatch, Faults(at={method: ["lost"]}))
    filesystem.write_bytes(fs, f"{root}/a/note", b"note")
    faults.at.setdefault(method, []).append("lost")
    assert filesystem.create_exclusive(fs, f"{root}/a/record", b"record")
    filesystem.copy_within(fs, {f"{root}/a/note": f"{root}/a/copy"})
    filesystem.move(fs, f"{root}/a", f"{root}/b")
    assert set(fs.find(root)) == {f"{root}/b/{name}" for name in ("note", "record", "copy")}
    assert filesystem.read_bytes(fs, f"{root}/b/copy") == b"note"
    assert faults.seen["lost"] == len(pauses) == 2


def test_an_exclusive_write_whose_answer_got_lost_counts_as_won(
    monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    """Repeated, it finds its own bytes, also where the answer to that is cut off."""
    store = open_store("memory://patience-answer")
    inject(monkeypatch, Faults(at={"pipe_file": ["answer lost"], "cat_file": ["truncated"]}))
    assert filesystem.create_exclusive(store.fs, f"{store.root}/note", b"mine")
    assert not filesystem.create_exclusive(store.fs, f"{store.root}/note", b"other")


def test_a_patient_filesystem_travels_between_processes() -> None:
    """Tasks of another process open the store from its address, but may be given a filesystem."""
    store = open_store("memory://patience-pickled")
    again = pickle.loads(pickle.dumps(store.fs))
    assert again.unstrip_protocol("/x") == store.fs.unstrip_protocol("/x")
