"""Artifacts are read in place or through a cache that keeps its size and what is in use."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from artifacts.identity import Reference
from artifacts.published.checking import check, verify
from artifacts.published.reading import local_file, local_files, local_folder
from artifacts.record import ExternalFile
from artifacts.store import file_uri, open_store, published_path, reference_of

if TYPE_CHECKING:
    from artifacts.record import Record
    from artifacts.store import Store
    from tests.artifacts.conftest import Build, Steps

FILES = {"a.bin": b"a" * 100, "sub/b.txt": b"text"}
SHA256_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def remote(tmp_path: Path) -> Store:
    """Give a store that has to be cached."""
    return open_store(f"memory://{tmp_path.name}", cache_dir=tmp_path / "cache")


def _cached(store: Store) -> set[str]:
    """Return the names of all files in the cache."""
    files = (store.cache_dir / "files").rglob("*")
    return {path.name for path in files if path.is_file() and path.suffix != ".lock"}


def _release(store: Store) -> Store:
    """Return the store as another process, without locks on the cache, would open it."""
    for descriptor in store.held_folders.values():
        os.close(descriptor)
    return replace(store, held_folders={})


def test_folder_holds_the_published_files(store: Store, build: Build) -> None:
    """Whatever the store is on, the files are on this machine's disk under their names."""
    reference = reference_of(store, build(store, FILES))
    folder = local_folder(store, reference)
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert found == FILES
    assert local_file(store, reference, "a.bin").read_bytes() == FILES["a.bin"]


def test_files_are_those_of_the_record(store: Store, build: Build) -> None:
    """A file that somebody put beside the published ones is not read."""
    record = build(store, {"shard-2": b"2", "shard-1": b"1", "index": b""})
    store.fs.pipe_file(f"{published_path(store, record)}/shard-3", b"3")
    found = local_files(store, reference_of(store, record), "shard-*")
    assert [path.read_bytes() for path in found] == [b"1", b"2"]


def test_local_store_is_read_in_place(local_store: Store, build: Build) -> None:
    """Nothing is copied where nothing has to be."""
    record = build(local_store, FILES)
    folder = local_folder(local_store, reference_of(local_store, record))
    assert str(folder) == published_path(local_store, record)
    assert not local_store.cache_dir.exists()


def test_only_what_is_needed_is_brought(remote: Store, build: Build) -> None:
    """Names narrow what is read."""
    reference = reference_of(remote, build(remote, FILES))
    assert list(local_folder(remote, reference, ["a.bin"]).iterdir()) != []
    assert _cached(remote) == {"a.bin"}
    assert local_folder(remote, reference, []).is_dir()


def test_file_is_brought_once(steps: Steps, build: Build) -> None:
    """What is in the cache is not read from the store again, in this process or the next."""
    record = build(steps.store, FILES)
    reference = reference_of(steps.store, record)
    local_folder(steps.store, reference)
    steps.watch_reads()
    local_folder(steps.store, reference)
    assert not [path for path in steps.reads if record.folder in path]


def test_damaged_cache_file_is_brought_again(remote: Store, build: Build) -> None:
    """A cached file that was changed or cut is replaced."""
    reference = reference_of(remote, build(remote, FILES))
    path = local_file(remote, reference, "a.bin")
    for damage in (b"b" * 100, b"a"):
        path.write_bytes(damage)
        assert local_file(remote, reference, "a.bin").read_bytes() == FILES["a.bin"]


def test_damaged_object_is_refused(remote: Store, build: Build) -> None:
    """What arrives is compared with the record, and nothing wrong stays in the cache."""
    record = build(remote, FILES)
    remote.fs.pipe_file(f"{published_path(remote, record)}/a.bin", b"b" * 100)
    message = r"a.bin has sha256 .* instead of .*owt artifacts verify"
    with pytest.raises(ValueError, match=message):
        local_folder(remote, reference_of(remote, record))
    assert "a.bin" not in _cached(remote)


def test_missing_artifact_and_file_are_named(store: Store, build: Build) -> None:
    """The error says what there is."""
    reference = reference_of(store, build(store, FILES))
    with pytest.raises(FileNotFoundError, match=r"has no file 'c'; it has a.bin, sub/b.txt"):
        local_folder(store, reference, ["c"])
    with pytest.raises(FileNotFoundError, match=r"has no file 'c'; it has a.bin, sub/b.txt"):
        local_file(store, reference, "c")
    with pytest.raises(FileNotFoundError, match="no artifact encode_shards/0000000000000000"):
        local_folder(store, Reference("encode_shards", "0" * 64, ""))


def test_external_file_is_read_in_place(store: Store, build: Build, tmp_path: Path) -> None:
    """A user's local corpus is opened in place; one that went away is named."""
    corpus = tmp_path / "corpus.txt"
    corpus.write_bytes(b"abc")
    external = ExternalFile("train.txt", str(corpus), 3, SHA256_OF_ABC)
    reference = reference_of(store, build(store, FILES, external_files=(external,)))
    assert local_file(store, reference, "train.txt") == corpus
    corpus.unlink()
    with pytest.raises(FileNotFoundError, match=f"train.txt should be at {corpus}"):
        local_file(store, reference, "train.txt")


def test_external_file_has_any_name(store: Store, build: Build, tmp_path: Path) -> None:
    """Blanks, umlauts and signs that mean something in an address; a file:// URL is decoded."""
    corpus = tmp_path / "a b#ü?%20::.txt"
    corpus.write_bytes(b"abc")
    for size, uri in enumerate([str(corpus), corpus.as_uri()]):
        external = ExternalFile("train.txt", uri, 3, SHA256_OF_ABC)
        record = build(store, FILES, config={"size": size}, external_files=(external,))
        reference = reference_of(store, record)
        assert local_file(store, reference, "train.txt") == corpus
        assert file_uri(store, reference, "train.txt") == str(corpus)
        assert verify(store, record) == []
        assert check(store, record).status == "hit"


def _three(remote: Store, build: Build) -> list[Record]:
    return [
        build(remote, {f"{size}.bin": os.urandom(100)}, config={"size": size}) for size in range(3)
    ]


def test_least_recently_used_folder_is_evicted(remote: Store, build: Build) -> None:
    """Above the limit the folder that was used longest ago goes, and comes back when needed."""
    store = replace(remote, cache_limit_bytes=250)
    records = _three(store, build)
    for number in (0, 1, 0):
        local_folder(store, reference_of(store, records[number]))
        time.sleep(0.01)
    assert _cached(store) == {"0.bin", "1.bin"}
    store = _release(store)
    local_folder(store, reference_of(store, records[2]))
    assert _cached(store) == {"0.bin", "2.bin"}
    folder = local_folder(_release(store), reference_of(store, records[1]))
    assert (folder / "1.bin").stat().st_size == 100


def test_folder_in_use_is_not_evicted(
    remote: Store, build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    """What this process uses stays, even if the limit is exceeded for it; a warning says so."""
    store = replace(remote, cache_limit_bytes=150)
    for record in _three(store, build):
        local_folder(store, reference_of(store, record))
    assert _cached(store) == {"0.bin", "1.bin", "2.bin"}
    assert "above its limit of 150: all of it is in use" in caplog.text


def test_folder_that_another_process_uses_is_not_evicted(remote: Store, build: Build) -> None:
    """The locks work between processes, and end with a process that is killed."""
    store = replace(remote, cache_limit_bytes=150)
    records = _three(store, build)
    folder = local_folder(store, reference_of(store, records[0]))
    store = _release(store)
    code = (
        "import fcntl, sys\n"
        "lock = open(sys.argv[1])\n"
        "fcntl.flock(lock, fcntl.LOCK_SH)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, f"{folder}.lock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == b"held\n"
        local_folder(store, reference_of(store, records[1]))
        assert _cached(store) == {"0.bin", "1.bin"}
        user.kill()
    local_folder(store, reference_of(store, records[2]))
    assert _cached(store) == {"1.bin", "2.bin"}


def test_full_disk_names_the_cache(
    remote: Store, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No space in the cache is told with its place, and leaves no torso."""
    reference = reference_of(remote, build(remote, FILES))
    read = MemoryFileSystem.cat_file

    def fill(fs: MemoryFileSystem, path: str, **options: int) -> bytes:
        if "/attempt-" in path:
            raise OSError(errno.ENOSPC, "No space left on device")
        return bytes(read(fs, path, **options))

    monkeypatch.setattr(MemoryFileSystem, "cat_file", fill)
    with pytest.raises(OSError, match=f"no space left while writing under {remote.cache_dir}"):
        local_folder(remote, reference)
    assert _cached(remote) == set()
