"""Hashes of source files are remembered exactly as long as they hold."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from artifacts.content_hash import ContentHash, content_hash, recall, remember
from tests.artifacts.conftest import Steps

if TYPE_CHECKING:
    from artifacts.store import Store

ABC = ContentHash("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", 3)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Give a file that holds abc, written a minute ago."""
    path = tmp_path / "corpus.txt"
    path.write_bytes(b"abc")
    _set_age(path, 60)
    return path


def _set_age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds, time.time() - seconds))


def _rewrite_unnoticed(path: Path, content: bytes) -> None:
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_hash_is_that_of_the_content(source: Path, tmp_path: Path) -> None:
    """Paths, URLs and remembered hashes agree."""
    memo_dir = tmp_path / "memo"
    for uri in (source, str(source), f"file://{source}"):
        assert content_hash(uri, memo_dir=None) == ABC
        assert content_hash(uri, memo_dir=memo_dir) == ABC
    assert len(list(memo_dir.iterdir())) == 1


def test_unchanged_file_is_not_read_again(source: Path, tmp_path: Path) -> None:
    """The memo answers as long as size, mtime and inode are the same."""
    assert content_hash(source, memo_dir=tmp_path / "memo") == ABC
    _rewrite_unnoticed(source, b"abd")
    assert content_hash(source, memo_dir=tmp_path / "memo") == ABC
    assert content_hash(source, memo_dir=None) != ABC


@pytest.mark.parametrize("change", ["size", "mtime", "inode"])
def test_changed_file_is_read_again(source: Path, tmp_path: Path, change: str) -> None:
    """Each of size, mtime and inode is enough to notice."""
    assert content_hash(source, memo_dir=tmp_path / "memo") == ABC
    before = source.stat()
    if change == "inode":
        source.rename(tmp_path / "kept")  # else the new file may get the same inode
    source.write_bytes(b"abcd" if change == "size" else b"abd")
    mtime_ns = before.st_mtime_ns + (change == "mtime")
    os.utime(source, ns=(before.st_atime_ns, mtime_ns))
    assert content_hash(source, memo_dir=tmp_path / "memo") != ABC


def test_young_file_is_not_remembered(source: Path, tmp_path: Path) -> None:
    """A file that may change again within the same clock tick is read again."""
    _set_age(source, 0)
    assert content_hash(source, memo_dir=tmp_path / "memo") == ABC
    _rewrite_unnoticed(source, b"abd")
    assert content_hash(source, memo_dir=tmp_path / "memo") != ABC


def test_writer_can_vouch_for_a_young_file(source: Path, tmp_path: Path) -> None:
    """Who has just written a file knows its hash, so nobody has to read it again."""
    _set_age(source, 0)
    remember(source, ContentHash("0" * 64, 3), tmp_path / "memo")
    assert content_hash(source, memo_dir=tmp_path / "memo").sha256 == "0" * 64


def test_recalling_reads_nothing(source: Path, tmp_path: Path) -> None:
    """A hash is known only if somebody has made it, and the file is as it was."""
    memo_dir = tmp_path / "memo"
    assert recall(source, memo_dir=memo_dir) is None
    content_hash(source, memo_dir=memo_dir)
    assert recall(source, memo_dir=memo_dir) == ABC
    _set_age(source, 30)
    assert recall(source, memo_dir=memo_dir) is None
    assert recall(tmp_path / "nothing", memo_dir=memo_dir) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}"])
def test_damaged_memo_is_made_anew(source: Path, tmp_path: Path, damage: bytes) -> None:
    """The memo is only a saving."""
    content_hash(source, memo_dir=tmp_path / "memo")
    (memo,) = (tmp_path / "memo").iterdir()
    memo.write_bytes(damage)
    assert content_hash(source, memo_dir=tmp_path / "memo") == ABC
    assert memo.read_bytes() != damage


def test_remote_file_is_remembered_by_its_mark(store: Store, tmp_path: Path) -> None:
    """A file on any filesystem is hashed through its URL."""
    store.fs.makedirs(store.root, exist_ok=True)
    store.fs.pipe_file(f"{store.root}/a", b"abc")
    assert content_hash(f"{store.url}/a", memo_dir=tmp_path / "memo") == ABC
    store.fs.rm_file(f"{store.root}/a")
    store.fs.pipe_file(f"{store.root}/a", b"abd")
    assert content_hash(f"{store.url}/a", memo_dir=tmp_path / "memo") != ABC


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    """What is no file is an error with the path."""
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(FileNotFoundError, match=f"no file {path}"):
            content_hash(path, memo_dir=None)


def test_file_that_changes_while_it_is_read_is_refused(local_store: Store) -> None:
    """The hash of half the old and half the new content is worth nothing."""
    path = Path(local_store.root) / "corpus.txt"
    path.parent.mkdir()
    path.write_bytes(b"abc")
    steps = Steps(local_store)
    steps.watch(1, partial(path.write_bytes, b"abcd"), looks_count=True)
    with pytest.raises(ValueError, match="changed while it was read"):
        content_hash(path, memo_dir=None)
    steps.end()
