"""Hits are cheap, damage is found, and what is damaged is moved aside and rebuilt."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from artifacts import filesystem
from artifacts.checking import check, quarantine, verify
from artifacts.lease import hold_lease
from artifacts.record import ExternalFile
from artifacts.store import find_record, published_path

if TYPE_CHECKING:
    from artifacts.record import Record
    from artifacts.store import Store
    from tests.artifacts.conftest import Build, Steps

FILES = {"a.bin": b"a" * 100, "sub/b.txt": b"text"}


def _published(store: Store, record: Record, name: str) -> str:
    return f"{published_path(store, record)}/{name}"


def _rewrite(store: Store, record: Record, name: str, content: bytes) -> None:
    """Replace a published file, as a broken disk or a careless person would."""
    path = _published(store, record, name)
    filesystem.remove(store.fs, path)
    filesystem.write_bytes(store.fs, path, content)


def _rewrite_unnoticed(path: Path, content: bytes) -> None:
    """Replace a file's content so that only reading it tells."""
    before = path.stat()
    path.chmod(0o644)
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_absent_artifact_is_a_miss(store: Store) -> None:
    """Without a record there is nothing, and the reason says what was looked for."""
    found = check(store, "encode", "ab" * 32)
    assert (found.status, found.record) == ("miss", None)
    assert found.reason == f"no record encode/abababababababab under {store.url}"


def test_unchanged_artifact_is_a_hit_without_reading_it(local_store: Store, build: Build) -> None:
    """A hit looks at stamps only: content that changed behind an unchanged stamp is not seen."""
    record = build(local_store, FILES)
    _rewrite_unnoticed(Path(_published(local_store, record, "a.bin")), b"b" * 100)
    assert check(local_store, record.stage, record.fingerprint).status == "hit"
    assert verify(local_store, record.stage, record.fingerprint) != []


def test_hit_opens_no_published_file(steps: Steps, build: Build) -> None:
    """On no filesystem does a hit read the files; verify does."""
    record = build(steps.store, FILES)
    steps.watch_reads()
    assert check(steps.store, record.stage, record.fingerprint).status == "hit"
    assert not [path for path in steps.reads if record.folder in path]
    assert verify(steps.store, record.stage, record.fingerprint) == []
    assert len([path for path in steps.reads if record.folder in path]) == len(FILES)


def test_changed_stamp_is_hashed_once(local_store: Store, build: Build) -> None:
    """A touched file is hashed again, found unchanged, and not hashed the next time."""
    record = build(local_store, FILES)
    path = Path(_published(local_store, record, "a.bin"))
    os.utime(path)
    assert check(local_store, record.stage, record.fingerprint).status == "hit"
    _rewrite_unnoticed(path, b"b" * 100)
    assert check(local_store, record.stage, record.fingerprint).status == "hit"


def test_verification_tells_its_progress(store: Store, build: Build, tmp_path: Path) -> None:
    """Progress is in bytes over all files, also those that lie outside."""
    (tmp_path / "corpus.txt").write_bytes(b"abc")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    external = ExternalFile("train.txt", str(tmp_path / "corpus.txt"), 3, sha256)
    record = build(store, FILES, external_files=[external])
    seen: list[tuple[int, int]] = []
    verify(store, record.stage, record.fingerprint, on_progress=lambda *step: seen.append(step))
    assert seen == [(100, 107), (104, 107), (107, 107)]


def test_read_only_store_gives_hits(store: Store, build: Build) -> None:
    """Who may not write the memo can still use the artifact."""
    record = build(store, FILES)
    memo = f"{store.root}/.checked/{record.stage}/{record.fingerprint[:16]}.json"
    filesystem.remove(store.fs, memo)
    blocker = f"{store.root}/.checked"  # a file where a folder should be refuses even root
    filesystem.remove_below(store.fs, blocker)
    filesystem.write_bytes(store.fs, blocker, b"")
    assert check(store, record.stage, record.fingerprint).status == "hit"


def test_lost_memo_is_made_anew(store: Store, build: Build) -> None:
    """Without the memo everything is hashed once, and the memo is there again."""
    record = build(store, FILES)
    memo = f"{store.root}/.checked/{record.stage}/{record.fingerprint[:16]}.json"
    for damage in (None, b"", b"[]", b'{"folder": 1}'):
        filesystem.remove(store.fs, memo)
        if damage is not None:
            filesystem.write_bytes(store.fs, memo, damage)
        assert check(store, record.stage, record.fingerprint).status == "hit"
        assert record.folder.encode() in filesystem.read_bytes(store.fs, memo)


def test_flipped_byte_is_stale_and_rebuilt(store: Store, build: Build) -> None:
    """One byte is enough: verify and check tell it, quarantine moves it, a rebuild is whole."""
    record = build(store, FILES)
    _rewrite(store, record, "a.bin", b"a" * 99 + b"b")
    (problem,) = verify(store, record.stage, record.fingerprint)
    assert problem.startswith("a.bin has changed: sha256 ")
    found = check(store, record.stage, record.fingerprint)
    assert (found.status, found.record, found.reason) == ("stale", record, problem)

    place = quarantine(store, record.stage, record.fingerprint, found.reason)
    assert place is not None
    assert "/.quarantine/" in place
    assert check(store, record.stage, record.fingerprint).status == "miss"
    rebuilt = build(store, FILES)
    assert rebuilt.folder != record.folder
    assert verify(store, record.stage, record.fingerprint) == []
    assert check(store, record.stage, record.fingerprint).status == "hit"


def test_missing_and_cut_files_are_stale(store: Store, build: Build) -> None:
    """A file that is gone, or has another size, is named with both sizes."""
    record = build(store, FILES)
    filesystem.remove(store.fs, _published(store, record, "a.bin"))
    _rewrite(store, record, "sub/b.txt", b"te")
    reasons = ["a.bin is missing", "sub/b.txt has 2 bytes instead of 4"]
    assert verify(store, record.stage, record.fingerprint) == reasons
    assert check(store, record.stage, record.fingerprint).reason == "; ".join(reasons)


@pytest.mark.parametrize("damage", [b"", b"{", b"{}", b"[]"])
def test_damaged_record_is_stale_and_rebuilt(store: Store, build: Build, damage: bytes) -> None:
    """A record that cannot be read is moved aside like any damaged file."""
    record = build(store, FILES)
    path = f"{store.root}/{record.stage}/{record.fingerprint[:16]}/record.json"
    filesystem.write_bytes(store.fs, path, damage)
    found = check(store, record.stage, record.fingerprint)
    assert (found.status, found.record) == ("stale", None)
    assert "is damaged" in found.reason
    assert verify(store, record.stage, record.fingerprint) == [found.reason]
    quarantine(store, record.stage, record.fingerprint, found.reason)
    assert build(store, FILES).files == record.files


def test_quarantine_spares_what_was_rebuilt(store: Store, build: Build) -> None:
    """Who saw damage that somebody else has repaired meanwhile moves nothing."""
    record = build(store, FILES)
    quarantine(store, record.stage, record.fingerprint, "test", expected=record)
    rebuilt = build(store, FILES)
    late = quarantine(store, record.stage, record.fingerprint, "test", expected=record)
    assert late is None
    assert find_record(store, record.stage, record.fingerprint) == rebuilt


def test_quarantine_of_nothing_does_nothing(store: Store) -> None:
    """Where no artifact is, nothing is moved."""
    assert quarantine(store, "encode", "ab" * 32, "test") is None


def test_verify_of_nothing_is_an_error(store: Store) -> None:
    """An artifact that is not there is neither whole nor damaged."""
    with pytest.raises(FileNotFoundError, match="no artifact encode/abababababababab"):
        verify(store, "encode", "ab" * 32)


def test_artifact_under_construction_is_locked(store: Store, build: Build) -> None:
    """What somebody builds is locked for others, not for the builder; a hit never is."""
    key = "ab" * 32
    with hold_lease(store, "encode", key, owner="builder"):
        assert check(store, "encode", key).status == "locked"
        assert "builder is building it" in check(store, "encode", key).reason
        assert check(store, "encode", key, owner="builder").status == "miss"
    assert check(store, "encode", key).status == "miss"
    record = build(store, FILES)
    with hold_lease(store, record.stage, record.fingerprint, owner="builder"):
        assert check(store, record.stage, record.fingerprint).status == "hit"


def test_external_file_is_part_of_the_artifact(store: Store, build: Build, tmp_path: Path) -> None:
    """A user's corpus that changed, or went away, makes the artifact stale."""
    corpus = tmp_path / "corpus.txt"
    corpus.write_bytes(b"abc")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    external = ExternalFile("train.txt", str(corpus), 3, sha256)
    record = build(store, {}, stage="download", external_files=[external])
    assert check(store, "download", record.fingerprint).status == "hit"
    assert verify(store, "download", record.fingerprint) == []
    corpus.write_bytes(b"abd")
    found = check(store, "download", record.fingerprint)
    assert found.status == "stale"
    assert found.reason.startswith(f"train.txt at {corpus} has changed")
    assert verify(store, "download", record.fingerprint) == [found.reason]
    corpus.unlink()
    missing = [f"train.txt is missing at {corpus}"]
    assert verify(store, "download", record.fingerprint) == missing
    assert find_record(store, "download", record.fingerprint) == record


def test_old_external_file_is_not_hashed_again(store: Store, build: Build, tmp_path: Path) -> None:
    """The hash of a file that lies outside is remembered, too."""
    corpus = tmp_path / "corpus.txt"
    corpus.write_bytes(b"abc")
    os.utime(corpus, (time.time() - 60, time.time() - 60))
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    external = ExternalFile("train.txt", str(corpus), 3, sha256)
    record = build(store, {}, stage="download", external_files=[external])
    assert check(store, "download", record.fingerprint).status == "hit"
    _rewrite_unnoticed(corpus, b"abd")
    assert check(store, "download", record.fingerprint).status == "hit"
    assert verify(store, "download", record.fingerprint) != []
