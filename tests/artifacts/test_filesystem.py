"""The few promises that every filesystem has to keep."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from artifacts import filesystem
from artifacts.content_hash import ContentHash, hash_file, stamp_of, stamps_below

if TYPE_CHECKING:
    from artifacts.store import Store
    from tests.artifacts.conftest import OpenStore


def test_exclusive_creation_has_one_winner(open_again: OpenStore) -> None:
    """Of eight that create a file at the same moment one succeeds, and its content is there."""
    start = threading.Barrier(8)

    def create(number: int) -> bool:
        store = open_again()
        start.wait(30)
        return filesystem.create_exclusive(store.fs, f"{store.root}/a/b", b"%d" % number)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    store = open_again()
    assert won.count(True) == 1
    assert filesystem.read_bytes(store.fs, f"{store.root}/a/b") == b"%d" % won.index(True)
    assert filesystem.names_in(store.fs, f"{store.root}/a") == ["b"]


def test_repeated_creation_of_the_same_content_counts_as_won(store: Store) -> None:
    """A client that repeats a request whose answer was lost finds its own file."""
    path = f"{store.root}/a"
    assert filesystem.create_exclusive(store.fs, path, b"mine")
    assert filesystem.create_exclusive(store.fs, path, b"mine")
    assert not filesystem.create_exclusive(store.fs, path, b"theirs")


def test_written_bytes_replace_and_change_the_stamp(store: Store) -> None:
    """Other content has another stamp, even at the same size."""
    path = f"{store.root}/folder/a"
    filesystem.write_bytes(store.fs, path, b"one")
    before = stamp_of(store.fs, path)
    assert stamp_of(store.fs, path) == before
    assert stamps_below(store.fs, f"{store.root}/folder") == {"a": before}
    filesystem.write_bytes(store.fs, path, b"two")
    assert stamp_of(store.fs, path) != before
    assert filesystem.read_bytes(store.fs, path) == b"two"


def test_what_is_absent_is_told_as_absent(store: Store) -> None:
    """Looking for what is not there lists nothing, or raises FileNotFoundError."""
    path = f"{store.root}/nowhere"
    assert filesystem.names_in(store.fs, path) == []
    assert stamps_below(store.fs, path) == {}
    assert not filesystem.exists(store.fs, path)
    filesystem.remove(store.fs, path)
    filesystem.remove_below(store.fs, path)
    with pytest.raises(FileNotFoundError):
        filesystem.read_bytes(store.fs, path)
    with pytest.raises(FileNotFoundError):
        stamp_of(store.fs, path)


def test_folders_move_and_vanish_with_all_below(store: Store) -> None:
    """A folder is moved and removed as a whole."""
    for name in ("a/b", "a/c/d"):
        filesystem.write_bytes(store.fs, f"{store.root}/{name}", name.encode())
    filesystem.move(store.fs, f"{store.root}/a", f"{store.root}/x/y")
    assert set(stamps_below(store.fs, store.root)) == {"x/y/b", "x/y/c/d"}
    filesystem.remove_below(store.fs, f"{store.root}/x")
    assert stamps_below(store.fs, store.root) == {}


def test_blocks_join_to_the_file(store: Store) -> None:
    """A file larger than a block is read whole, and its hash is that of its content."""
    content = os.urandom(1000) * (filesystem.BLOCK_BYTES // 1000 + 1)
    path = f"{store.root}/large"
    filesystem.write_bytes(store.fs, path, content)
    assert b"".join(filesystem.read_blocks(store.fs, path)) == content
    assert len(list(filesystem.read_blocks(store.fs, path))) == 2
    expected = ContentHash(hashlib.sha256(content).hexdigest(), len(content))
    assert hash_file(store.fs, path) == expected


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP])
def test_filesystem_without_hard_links_works_too(
    local_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Where link() is refused, parts are copied and records still have one creator."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    fs, root = local_store.fs, local_store.root
    (tmp_path / "part").write_bytes(b"part")
    filesystem.upload(fs, tmp_path / "part", f"{root}/staged", may_link=True)
    filesystem.copy_within(fs, {f"{root}/staged": f"{root}/published"})
    assert Path(root, "published").read_bytes() == b"part"
    assert filesystem.create_exclusive(fs, f"{root}/record", b"one")
    assert not filesystem.create_exclusive(fs, f"{root}/record", b"two")
    assert filesystem.read_bytes(fs, f"{root}/record") == b"one"


def test_failed_copy_leaves_no_torso(
    local_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written of a file before the disk was full is removed again."""

    def fill(_: Path, destination: Path) -> None:
        Path(destination).write_bytes(b"torso")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", fill)
    (tmp_path / "part").write_bytes(b"part")
    with pytest.raises(OSError, match="No space"):
        filesystem.upload(
            local_store.fs, tmp_path / "part", f"{local_store.root}/part", may_link=False
        )
    assert list(Path(local_store.root).iterdir()) == []
