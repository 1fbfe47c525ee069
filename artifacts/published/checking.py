"""Is an artifact there and whole? The cheap answer, the sure answer, and what to do with damage.

The cheap answer trusts the filesystem: a file has not changed if it has the stamp (size with mtime
and inode, or ETag) that it had when it was last hashed. If the stamp differs, it is hashed again.
"""

import json
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from artifacts import filesystem
from artifacts.content_hash import Stamp, content_hash, forget, hash_file, stamps_below
from artifacts.identity import ArtifactKey
from artifacts.lease.lease import describe_lease
from artifacts.names import local_place
from artifacts.record import ExternalFile, FileEntry, Record
from artifacts.store import (
    DamagedRecordError,
    Store,
    find_record,
    hidden_path,
    published_path,
    record_path,
)

Stamps = dict[str, Stamp]
"""By the names of the files."""


@dataclass(frozen=True, slots=True)
class Check:
    """Whether an artifact can be used."""

    status: Literal["hit", "miss", "stale", "locked"]
    """stale: it is there but damaged; locked: it cannot be used yet, somebody is building it."""
    reason: str
    record: Record | None
    """None for a miss and where the record itself is damaged."""


def check(store: Store, key: ArtifactKey, *, owner: str | None = None) -> Check:
    """Look whether an artifact is whole, cheaply: only files whose stamp has changed are hashed.

    Args:
        store: The store to look in.
        key: The artifact.
        owner: The caller's own name as a builder: its own lease does not count as locked.

    Raises:
        RecordFormatError: Another version of this program wrote the record, in another format.
    """
    found = _check_files(store, key)
    if found.status == "hit":
        return found
    builder = describe_lease(store, key)
    if builder is None or builder.owner == owner:
        return found
    reason = f"{builder.owner} is building it, last heard of {builder.age_s:.0f} s ago"
    return Check("locked", reason, found.record)


def _check_files(store: Store, key: ArtifactKey) -> Check:
    try:
        record = find_record(store, key)
    except DamagedRecordError as error:
        return Check("stale", str(error), None)
    if record is None:
        return Check("miss", f"no record {key.place} under {store.url}", None)
    known = _recall_stamps(store, record)
    found = stamps_below(store.fs, published_path(store, record))
    changed = [entry for entry in record.files if not _is_unchanged(entry.name, found, known)]
    problems = [problem for entry in changed if (problem := _problem(store, record, entry, found))]
    problems += [
        problem
        for external in record.external_files
        if (problem := _external_problem(external, store.cache_dir / "sources"))
    ]
    if problems:
        return Check("stale", "; ".join(problems), record)
    if changed:
        with suppress(OSError):  # the memo is only a saving, and the store may be read-only
            _write_stamps(store, record, found)
    size_bytes = sum(entry.size_bytes for entry in record.files)
    return Check("hit", f"{len(record.files)} files, {size_bytes:,} bytes, unchanged", record)


def _is_unchanged(name: str, found: Stamps, known: Stamps) -> bool:
    # A file that is neither there nor remembered has not stayed the same, and without a date or an
    # ETag nothing shows that one has.
    stamp = found.get(name)
    return stamp is not None and bool(stamp.mark) and stamp == known.get(name)


def verify(store: Store, key: ArtifactKey) -> list[str]:
    """Hash every file of an artifact, and return what is wrong; empty means it is whole.

    What was remembered of a damaged artifact is forgotten, so that the next run finds the damage,
    too, where stamps do not show it.

    Raises:
        FileNotFoundError: There is no such artifact.
        RecordFormatError: Another version of this program wrote the record, in another format.
    """
    try:
        record = find_record(store, key)
    except DamagedRecordError as error:
        return [str(error)]
    if record is None:
        raise FileNotFoundError(f"no artifact {key.place} under {store.url}")
    found = stamps_below(store.fs, published_path(store, record))
    problems = [
        problem for entry in record.files if (problem := _problem(store, record, entry, found))
    ]
    with suppress(OSError):  # the store may be read-only
        if problems:
            filesystem.remove(store.fs, _stamps_path(store, record))
    return problems + _verify_external(store, record)


def _verify_external(store: Store, record: Record) -> list[str]:
    problems = []
    for external in record.external_files:
        if problem := _external_problem(external, None):
            problems.append(problem)
            forget(local_place(external.uri), store.cache_dir / "sources")
    return problems


def _problem(store: Store, record: Record, entry: FileEntry, found: Stamps) -> str:
    """Return what is wrong with a published file, or nothing."""
    stamp = found.get(entry.name)
    if stamp is None:
        return f"{entry.name} is missing, or a link"
    if stamp.size_bytes != entry.size_bytes:
        return f"{entry.name} has {stamp.size_bytes} bytes instead of {entry.size_bytes}"
    path = f"{published_path(store, record)}/{entry.name}"
    sha256 = hash_file(store.fs, path).sha256
    return "" if sha256 == entry.sha256 else _wrong_hash(entry.name, entry.sha256, sha256)


def _external_problem(external: ExternalFile, memo_dir: Path | None) -> str:
    """Return what is wrong with a file outside the store, or nothing."""
    try:
        content = content_hash(local_place(external.uri), memo_dir=memo_dir)
    except (FileNotFoundError, NotADirectoryError):
        return f"{external.name} is missing at {external.uri}"
    except OSError as error:
        return f"{external.name} at {external.uri} cannot be read ({error.strerror})"
    if content.sha256 == external.sha256:
        return ""
    return _wrong_hash(f"{external.name} at {external.uri}", external.sha256, content.sha256)


def _wrong_hash(name: str, expected: str, found: str) -> str:
    return f"{name} has changed: sha256 {found[:16]} instead of {expected[:16]}"


def remember_stamps(store: Store, record: Record) -> None:
    """Remember the published files' stamps as those of files that hold what the record says."""
    found = stamps_below(store.fs, published_path(store, record))
    _write_stamps(store, record, found)


def _stamps_path(store: Store, key: ArtifactKey) -> str:
    return hidden_path(store, "checked", key) + ".json"


def _write_stamps(store: Store, record: Record, stamps: Stamps) -> None:
    files = {name: [stamp.size_bytes, stamp.mark] for name, stamp in stamps.items()}
    data = json.dumps({"folder": record.folder, "files": files}).encode()
    filesystem.write_bytes(store.fs, _stamps_path(store, record), data)


def _recall_stamps(store: Store, record: Record) -> Stamps:
    """Return the stamps of the last full check; none if these files were not checked yet."""
    (memo,) = filesystem.read_all(store.fs, [_stamps_path(store, record)])
    try:
        data = json.loads(memo or b"")
        if data["folder"] != record.folder:
            return {}
        return {name: Stamp(size, mark) for name, (size, mark) in data["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}  # the memo is only a saving: without it everything is hashed


def quarantine(
    store: Store, key: ArtifactKey, reason: str, *, expected: Record | None = None
) -> str | None:
    """Move a damaged artifact out of the way, record first, and return where it is now.

    Returns None if there is nothing to move, or if the record is not the `expected` one any more:
    then somebody else was faster and has built the artifact anew.
    """
    source = record_path(store, key)
    if not filesystem.exists(store.fs, source):
        return None
    try:
        record = find_record(store, key)
    except DamagedRecordError:
        record = None
    if expected is not None and record != expected:
        return None
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    unique = f"{moment}-{uuid.uuid4().hex[:8]}"
    place = f"{hidden_path(store, 'quarantine', key)}-{unique}"
    note = json.dumps({"reason": reason, "moved_at": moment}).encode()
    filesystem.write_bytes(store.fs, f"{place}/reason.json", note)
    try:
        _move_artifact(store, source, record, place)
    except FileNotFoundError:
        return None  # somebody else moved it at the same moment
    filesystem.remove(store.fs, _stamps_path(store, key))
    return filesystem.full_url(store.fs, place)


def _move_artifact(store: Store, source: str, record: Record | None, place: str) -> None:
    filesystem.move(store.fs, source, f"{place}/record.json")
    if record is None:
        return  # the damaged record does not name its folder
    folder = published_path(store, record)
    if filesystem.exists(store.fs, folder):
        filesystem.move(store.fs, folder, f"{place}/{record.folder}")
