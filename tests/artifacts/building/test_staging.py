"""Staged parts survive a crash, never change, and are only counted when they are intact."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from artifacts import filesystem
from artifacts.building.staging import (
    Staging,
    add_part,
    number_of,
    open_staging,
    part_head,
    staged_parts,
)
from artifacts.content_hash import stamps_below
from artifacts.identity import Reference
from artifacts.record import FileEntry

if TYPE_CHECKING:
    from artifacts.store import Store
    from tests.artifacts.conftest import OpenStore, Steps

KEY = Reference("encode", "0" * 64, "")
OTHER = Reference("encode", "1" * 64, "")
SHA256_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Give a file that holds abc."""
    path = tmp_path / "source"
    path.write_bytes(b"abc")
    return path


def test_part_is_there_after_a_restart(open_again: OpenStore, source: Path) -> None:
    """A finished part is found by the next process, with its size and hash."""
    entry = add_part(open_staging(open_again(), KEY), source, "sub/a.bin")
    assert entry == FileEntry("sub/a.bin", 3, SHA256_OF_ABC)
    assert source.exists()
    assert staged_parts(open_staging(open_again(), KEY)) == {"sub/a.bin": entry}


def test_work_folder_is_local_and_survives_a_restart(open_again: OpenStore) -> None:
    """Whatever the store is on, the builder has a working folder on this machine's disk."""
    (open_staging(open_again(), KEY).workdir / "checkpoint").write_bytes(b"1")
    again = open_staging(open_again(), KEY).workdir
    assert (again / "checkpoint").read_bytes() == b"1"
    assert not (open_staging(open_again(), OTHER).workdir / "checkpoint").exists()


def test_moved_part_gives_the_source_up(store: Store, source: Path) -> None:
    """With move the source is gone, also when the part was staged before."""
    staging = open_staging(store, KEY)
    add_part(staging, source, "a", move=True)
    assert not source.exists()
    source.write_bytes(b"abc")
    add_part(staging, source, "a", move=True)
    assert not source.exists()


def test_same_part_twice_is_a_no_op(store: Store, source: Path) -> None:
    """The same content under the same name is stored once."""
    staging = open_staging(store, KEY)
    add_part(staging, source, "a")
    before = stamps_below(store.fs, store.root)
    add_part(staging, source, "a")
    assert stamps_below(store.fs, store.root) == before


def test_other_content_under_a_staged_name_is_refused(store: Store, source: Path) -> None:
    """A part never changes, unless the caller says that it honestly differs."""
    staging = open_staging(store, KEY)
    add_part(staging, source, "a")
    source.write_bytes(b"other")
    with pytest.raises(ValueError, match="'a' is already staged with other content"):
        add_part(staging, source, "a")
    assert staged_parts(staging)["a"].sha256 == SHA256_OF_ABC
    add_part(staging, source, "a", replace=True)
    assert staged_parts(staging)["a"].size_bytes == 5


def test_file_that_is_still_written_is_refused(steps: Steps, source: Path) -> None:
    """A file that changes between hashing and storing is never staged under the old hash."""
    staging = open_staging(steps.store, KEY)
    refusals = set()
    for at in range(1, 50):
        source.write_bytes(b"abc")
        steps.watch(at, partial(source.write_bytes, b"xyz"))
        refusals.add(_refusal(staging, source, f"part-{at}"))
        steps.end()
        for name in staged_parts(open_staging(steps.store, KEY)):
            assert part_head(staging, name, 10) == b"abc"
        if steps.count < at:
            assert len(refusals) > 1
            return
    pytest.fail("staging never came to an end")


def _refusal(staging: Staging, source: Path, name: str) -> str:
    try:
        add_part(staging, source, name)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("damage", [b"abd", b"ab", None])
def test_damaged_part_is_built_again(store: Store, source: Path, damage: bytes | None) -> None:
    """A part that was flipped, cut or lost does not count, and can be added again."""
    staging = open_staging(store, KEY)
    entry = add_part(staging, source, "a")
    folder = f"{store.root}/.staging/{KEY.place}/alone/data"
    (name,) = filesystem.names_in(store.fs, folder)
    filesystem.remove(store.fs, f"{folder}/{name}")
    if damage is not None:
        filesystem.write_bytes(store.fs, f"{folder}/{name}", damage)
    assert staged_parts(open_staging(store, KEY)) == {}
    add_part(staging, source, "a")
    assert staged_parts(open_staging(store, KEY)) == {"a": entry}


def test_part_with_a_changed_stamp_is_hashed(store: Store, source: Path) -> None:
    """A part that was copied by hand, whole, still counts."""
    staging = open_staging(store, KEY)
    entry = add_part(staging, source, "a")
    folder = f"{store.root}/.staging/{KEY.place}/alone/data"
    (name,) = filesystem.names_in(store.fs, folder)
    filesystem.remove(store.fs, f"{folder}/{name}")
    filesystem.write_bytes(store.fs, f"{folder}/{name}", b"abc")
    assert staged_parts(staging) == {"a": entry}


def test_rival_adding_the_same_part_is_no_conflict(
    steps: Steps, open_again: OpenStore, source: Path
) -> None:
    """Whenever a rival stages the same part meanwhile, there is one part in the end."""
    for at in range(1, 50):
        key = Reference("encode", f"{at:064x}", "")
        rival = open_staging(open_again(), key)
        mine = open_staging(steps.store, key)
        steps.watch(at, partial(add_part, rival, source, "a"))
        entry = add_part(mine, source, "a")
        steps.end()
        assert staged_parts(open_staging(open_again(), key)) == {"a": entry}
        if steps.count < at:
            return
    pytest.fail("staging never came to an end")


@pytest.mark.parametrize("name", ["", ".", "/a", "../a", "a/../b", "a//b", "./a", "a/"])
def test_name_must_stay_inside_the_artifact(store: Store, source: Path, name: str) -> None:
    """A part's name cannot lead out of its artifact."""
    with pytest.raises(ValueError, match="must be relative"):
        add_part(open_staging(store, KEY), source, name)


def test_names_with_odd_characters_stay_apart(store: Store, source: Path) -> None:
    """Spaces, percent signs, umlauts and dots in names do not collide."""
    staging = open_staging(store, KEY)
    names = {"a b", "a%20b", "a/b", "a%2Fb", "ä.txt", "..a", "a.json"}
    for name in names:
        add_part(staging, source, name)
    assert set(staged_parts(staging)) == names


@pytest.mark.parametrize("name", ["alone", "12-ab", "abcdefgh-ab", "", "-"])
def test_folder_of_another_name_is_no_hold(name: str) -> None:
    """It is later than all holds, so that none of them removes it."""
    assert number_of("00000012-ab") == 12
    assert number_of(name) == 10**8


def test_finished_part_can_be_read(store: Store, source: Path) -> None:
    """A builder reads back what it has staged; what is not there is named."""
    staging = open_staging(store, KEY)
    add_part(staging, source, "a")
    assert part_head(staging, "a", 2) == b"ab"
    assert part_head(staging, "a", 10) == b"abc"
    with pytest.raises(FileNotFoundError, match="no intact part 'b' is staged for encode/"):
        part_head(staging, "b", 10)
