"""Hits are cheap, damage is found, and what is damaged is moved aside and rebuilt."""

from __future__ import annotations

import json
import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from artifacts import filesystem
from artifacts.identity import Reference
from artifacts.lease.waiting import wait_for_lease
from artifacts.published.checking import check, quarantine, verify
from artifacts.record import ExternalFile, RecordFormatError
from artifacts.store import find_record, list_records, published_path, record_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifacts.record import Record
    from artifacts.store import Store
    from tests.artifacts.conftest import Build, Steps

KEY = Reference("encode", "ab" * 32, "")
FILES = {"a.bin": b"a" * 100, "sub/b.txt": b"text"}


def _published(store: Store, record: Record, name: str) -> str:
    return f"{published_path(store, record)}/{name}"


def _rewrite(store: Store, record: Record, name: str, content: bytes) -> None:
    """Replace a published file, as a broken disk or a careless person would."""
    path = _published(store, record, name)
    filesystem.remove(store.fs, path)
    filesystem.write_bytes(store.fs, path, content)


def _rewrite_unnoticed(path: Path, content: bytes) -> None:
    """Replace a file's content so that only reading it shows the change."""
    before = path.stat()
    path.chmod(0o644)
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_absent_artifact_is_a_miss(store: Store) -> None:
    """Without a record there is nothing, and the reason says what was looked for."""
    found = check(store, KEY)
    assert (found.status, found.record) == ("miss", None)
    assert found.reason == f"no record encode/abababababababab under {store.url}"


def test_unchanged_artifact_is_a_hit_without_reading_it(local_store: Store, build: Build) -> None:
    """A hit looks at stamps only: content that changed behind an unchanged stamp is not seen."""
    record = build(local_store, FILES)
    _rewrite_unnoticed(Path(_published(local_store, record, "a.bin")), b"b" * 100)
    assert check(local_store, record).status == "hit"
    assert verify(local_store, record) != []


def test_hit_opens_no_published_file(steps: Steps, build: Build) -> None:
    """On no filesystem does a hit read the files; verify does."""
    record = build(steps.store, FILES)
    steps.watch_reads()
    assert check(steps.store, record).status == "hit"
    assert not [path for path in steps.reads if record.folder in path]
    assert verify(steps.store, record) == []
    assert len([path for path in steps.reads if record.folder in path]) == len(FILES)


def test_changed_stamp_is_hashed_once(local_store: Store, build: Build) -> None:
    """A touched file is hashed again, found unchanged, and not hashed the next time."""
    record = build(local_store, FILES)
    path = Path(_published(local_store, record, "a.bin"))
    os.utime(path)
    assert check(local_store, record).status == "hit"
    _rewrite_unnoticed(path, b"b" * 100)
    assert check(local_store, record).status == "hit"


def test_read_only_store_gives_hits(store: Store, build: Build) -> None:
    """Who may not write the memo can still use the artifact."""
    record = build(store, FILES)
    memo = f"{store.root}/.checked/{record.place}.json"
    filesystem.remove(store.fs, memo)
    blocker = f"{store.root}/.checked"  # a file where a folder should be refuses even root
    filesystem.remove_below(store.fs, blocker)
    filesystem.write_bytes(store.fs, blocker, b"")
    assert check(store, record).status == "hit"


def test_lost_memo_is_made_anew(store: Store, build: Build) -> None:
    """Without the memo everything is hashed once, and the memo is there again."""
    record = build(store, FILES)
    memo = f"{store.root}/.checked/{record.place}.json"
    for damage in (None, b"", b"[]", b'{"folder": 1}'):
        filesystem.remove(store.fs, memo)
        if damage is not None:
            filesystem.write_bytes(store.fs, memo, damage)
        assert check(store, record).status == "hit"
        assert record.folder.encode() in filesystem.read_bytes(store.fs, memo)


def test_flipped_byte_is_stale_and_rebuilt(store: Store, build: Build) -> None:
    """One byte is enough: verify and check tell it, quarantine moves it, a rebuild is whole."""
    record = build(store, FILES)
    _rewrite(store, record, "a.bin", b"a" * 99 + b"b")
    (problem,) = verify(store, record)
    assert problem.startswith("a.bin has changed: sha256 ")
    found = check(store, record)
    assert (found.status, found.record, found.reason) == ("stale", record, problem)

    place = quarantine(store, record, found.reason)
    assert place is not None
    assert "/.quarantine/" in place
    assert check(store, record).status == "miss"
    rebuilt = build(store, FILES)
    assert rebuilt.folder != record.folder
    assert verify(store, record) == []
    assert check(store, record).status == "hit"


def test_missing_and_cut_files_are_stale(store: Store, build: Build) -> None:
    """A file that is gone, or has another size, is named with both sizes."""
    record = build(store, FILES)
    filesystem.remove(store.fs, _published(store, record, "a.bin"))
    _rewrite(store, record, "sub/b.txt", b"te")
    reasons = ["a.bin is missing, or a link", "sub/b.txt has 2 bytes instead of 4"]
    assert verify(store, record) == reasons
    assert check(store, record).reason == "; ".join(reasons)


@pytest.mark.parametrize("damage", [b"", b"{", b"{}", b"[]"])
def test_damaged_record_is_stale_and_rebuilt(store: Store, build: Build, damage: bytes) -> None:
    """A record that cannot be read is moved aside like any damaged file."""
    record = build(store, FILES)
    filesystem.write_bytes(store.fs, record_path(store, record), damage)
    found = check(store, record)
    assert (found.status, found.record) == ("stale", None)
    assert "is damaged" in found.reason
    assert verify(store, record) == [found.reason]
    quarantine(store, record, found.reason)
    assert build(store, FILES).files == record.files


def test_record_of_another_format_is_left_alone(store: Store, build: Build) -> None:
    """It is another version's work: nobody takes it for damaged, and nobody moves it."""
    record = build(store, FILES)
    document = json.dumps(record.to_json() | {"format": 3}).encode()
    filesystem.write_bytes(store.fs, record_path(store, record), document)
    looks: list[Callable[[], object]] = [
        partial(check, store, record),
        partial(verify, store, record),
        partial(quarantine, store, record, "test"),
        partial(list_records, store),
    ]
    for look in looks:
        with pytest.raises(RecordFormatError, match=r"record\.json: the record has format 3"):
            look()
    assert filesystem.read_bytes(store.fs, record_path(store, record)) == document


def test_quarantine_spares_what_was_rebuilt(store: Store, build: Build) -> None:
    """Who saw damage that somebody else has repaired meanwhile moves nothing."""
    record = build(store, FILES)
    quarantine(store, record, "test", expected=record)
    rebuilt = build(store, FILES)
    late = quarantine(store, record, "test", expected=record)
    assert late is None
    assert find_record(store, record) == rebuilt


def test_quarantine_of_nothing_does_nothing(store: Store) -> None:
    """Where no artifact is, nothing is moved."""
    assert quarantine(store, KEY, "test") is None


def test_verify_of_nothing_is_an_error(store: Store) -> None:
    """An artifact that is not there is neither whole nor damaged."""
    with pytest.raises(FileNotFoundError, match="no artifact encode/abababababababab"):
        verify(store, KEY)


def test_artifact_under_construction_is_locked(store: Store, build: Build) -> None:
    """What somebody builds is locked for others, not for the builder; a hit never is."""
    with wait_for_lease(store, KEY, owner="builder"):
        assert check(store, KEY).status == "locked"
        assert "builder is building it" in check(store, KEY).reason
        assert check(store, KEY, owner="builder").status == "miss"
    assert check(store, KEY).status == "miss"
    record = build(store, FILES)
    with wait_for_lease(store, record, owner="builder"):
        assert check(store, record).status == "hit"


def test_external_file_is_part_of_the_artifact(store: Store, build: Build, tmp_path: Path) -> None:
    """A user's corpus that changed, or went away, makes the artifact stale."""
    corpus = tmp_path / "corpus.txt"
    corpus.write_bytes(b"abc")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    external = ExternalFile("train.txt", str(corpus), 3, sha256)
    record = build(store, {}, stage="download", external_files=(external,))
    assert check(store, record).status == "hit"
    assert verify(store, record) == []
    corpus.write_bytes(b"abd")
    found = check(store, record)
    assert found.status == "stale"
    assert found.reason.startswith(f"train.txt at {corpus} has changed")
    assert verify(store, record) == [found.reason]
    corpus.unlink()
    missing = [f"train.txt is missing at {corpus}"]
    assert verify(store, record) == missing
    assert find_record(store, record) == record


def test_old_external_file_is_not_hashed_again(store: Store, build: Build, tmp_path: Path) -> None:
    """The hash of a file outside the store is remembered, too."""
    corpus = tmp_path / "corpus.txt"
    corpus.write_bytes(b"abc")
    os.utime(corpus, (time.time() - 60, time.time() - 60))
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    external = ExternalFile("train.txt", str(corpus), 3, sha256)
    record = build(store, {}, stage="download", external_files=(external,))
    assert check(store, record).status == "hit"
    _rewrite_unnoticed(corpus, b"abd")
    assert check(store, record).status == "hit"
    assert verify(store, record) != []


def test_missing_files_are_stale_without_a_memo(store: Store, build: Build) -> None:
    """A store that was copied without its dot folders, and lost the files, too."""
    record = build(store, FILES)
    filesystem.remove_below(store.fs, f"{store.root}/.checked")
    filesystem.remove_below(store.fs, published_path(store, record))
    found = check(store, record)
    assert found.status == "stale"
    assert found.reason.startswith("a.bin is missing")


def test_damage_that_verify_found_is_found_by_the_next_run(
    local_store: Store, build: Build
) -> None:
    """A flipped byte behind an old date: what was remembered of the files is forgotten."""
    record = build(local_store, FILES)
    _rewrite_unnoticed(Path(_published(local_store, record, "a.bin")), b"b" * 100)
    assert check(local_store, record).status == "hit"
    (problem,) = verify(local_store, record)
    found = check(local_store, record)
    assert (found.status, found.reason) == ("stale", problem)


def test_damage_of_a_corpus_that_verify_found_is_found_by_the_next_run(
    store: Store, build: Build, tmp_path: Path
) -> None:
    """The same for a file outside the store."""
    corpus = tmp_path / "corpus.txt"
    corpus.write_bytes(b"abc")
    os.utime(corpus, (time.time() - 60, time.time() - 60))
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    external = ExternalFile("train.txt", str(corpus), 3, sha256)
    record = build(store, {}, stage="download", external_files=(external,))
    assert check(store, record).status == "hit"
    _rewrite_unnoticed(corpus, b"abd")
    assert check(store, record).status == "hit"
    assert verify(store, record) != []
    assert check(store, record).status == "stale"


def test_link_in_place_of_a_file_is_no_file(
    local_store: Store, build: Build, tmp_path: Path
) -> None:
    """Not even with the right content: it may change, or lead to what is not of the store."""
    record = build(local_store, FILES)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b.txt").write_bytes(FILES["sub/b.txt"])
    published = Path(published_path(local_store, record))
    (published / "sub/b.txt").unlink()
    (published / "sub").rmdir()
    (published / "sub").symlink_to(outside)
    assert check(local_store, record).reason == "sub/b.txt is missing, or a link"
    assert verify(local_store, record) == ["sub/b.txt is missing, or a link"]


def test_folder_in_place_of_a_record_is_stale_and_rebuilt(local_store: Store, build: Build) -> None:
    """Whatever is there under the record's name is moved aside."""
    record = build(local_store, FILES)
    path = Path(record_path(local_store, record))
    path.unlink()
    path.mkdir()
    found = check(local_store, record)
    assert found.status == "stale"
    quarantine(local_store, record, found.reason)
    assert build(local_store, FILES).files == record.files
