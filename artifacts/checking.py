"""Is an artifact there and whole? The cheap answer, the thorough one, and the way out.

The cheap answer trusts the filesystem: a file whose stamp (size and mtime and inode, or ETag) is
the one it had when it was last hashed has not changed. What has another stamp is hashed again.
"""

import json
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from artifacts import filesystem
from artifacts.content_hash import content_hash
from artifacts.filesystem import OnProgress, shares
from artifacts.lease import describe_lease
from artifacts.record import ExternalFile, FileEntry, Record
from artifacts.stamps import Stamp, hash_file, stamps_below
from artifacts.store import (
    DamagedRecordError,
    Store,
    find_record,
    hidden_path,
    published_path,
    record_path,
)

Stamps = dict[str, Stamp]


@dataclass(frozen=True, slots=True)
class Check:
    """Whether an artifact can be used."""

    status: Literal["hit", "miss", "stale", "locked"]
    """stale: it is there but damaged; locked: it is not usable and somebody is building it."""
    reason: str
    record: Record | None
    """None for a miss and where the record itself is damaged."""


def check(store: Store, stage: str, fingerprint: str, *, owner: str | None = None) -> Check:
    """Tell cheaply whether an artifact is whole; hashes only files whose stamp has changed.

    Args:
        store: Where.
        stage: Stage of the artifact.
        fingerprint: All 64 digits.
        owner: A lease of this owner, the caller itself, does not count as locked.
    """
    found = _check_files(store, stage, fingerprint)
    if found.status == "hit":
        return found
    builder = describe_lease(store, stage, fingerprint)
    if builder is None or builder.owner == owner:
        return found
    reason = f"{builder.owner} is building it, last heard of {builder.age_s:.0f} s ago"
    return Check("locked", reason, found.record)


def _check_files(store: Store, stage: str, fingerprint: str) -> Check:
    try:
        record = find_record(store, stage, fingerprint)
    except DamagedRecordError as error:
        return Check("stale", str(error), None)
    if record is None:
        return Check("miss", f"no record {stage}/{fingerprint[:16]} under {store.url}", None)
    known = _recall_stamps(store, record)
    found = stamps_below(store.fs, published_path(store, record))
    changed = [entry for entry in record.files if found.get(entry.name) != known.get(entry.name)]
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


def verify(
    store: Store, stage: str, fingerprint: str, *, on_progress: OnProgress | None = None
) -> list[str]:
    """Hash every file of an artifact, and return what is wrong; empty means it is whole.

    Progress is in bytes of all its files.

    Raises:
        FileNotFoundError: There is no such artifact.
    """
    try:
        record = find_record(store, stage, fingerprint)
    except DamagedRecordError as error:
        return [str(error)]
    if record is None:
        raise FileNotFoundError(f"no artifact {stage}/{fingerprint[:16]} under {store.url}")
    found = stamps_below(store.fs, published_path(store, record))
    files, externals = record.files, record.external_files
    sizes_bytes = [entry.size_bytes for entry in files] + [file.size_bytes for file in externals]
    progress = iter(shares(sizes_bytes, on_progress))
    problems = [_problem(store, record, entry, found, next(progress)) for entry in files]
    problems += [_external_problem(external, None, next(progress)) for external in externals]
    return [problem for problem in problems if problem]


def _problem(
    store: Store,
    record: Record,
    entry: FileEntry,
    found: Stamps,
    on_progress: OnProgress | None = None,
) -> str:
    """Return what is wrong with a published file, or nothing."""
    stamp = found.get(entry.name)
    if stamp is None:
        return f"{entry.name} is missing"
    if stamp.size_bytes != entry.size_bytes:
        return f"{entry.name} has {stamp.size_bytes} bytes instead of {entry.size_bytes}"
    path = f"{published_path(store, record)}/{entry.name}"
    sha256, _ = hash_file(store.fs, path, on_progress)
    return "" if sha256 == entry.sha256 else _wrong_hash(entry.name, entry.sha256, sha256)


def _external_problem(
    external: ExternalFile, memo_dir: Path | None, on_progress: OnProgress | None = None
) -> str:
    """Return what is wrong with a file that lies outside the store, or nothing."""
    try:
        content = content_hash(external.uri, memo_dir=memo_dir, on_progress=on_progress)
    except FileNotFoundError:
        return f"{external.name} is missing at {external.uri}"
    if content.sha256 == external.sha256:
        return ""
    return _wrong_hash(f"{external.name} at {external.uri}", external.sha256, content.sha256)


def _wrong_hash(name: str, expected: str, found: str) -> str:
    return f"{name} has changed: sha256 {found[:16]} instead of {expected[:16]}"


def remember_stamps(store: Store, record: Record) -> None:
    """Note that the published files, as they are now, hold what the record says."""
    found = stamps_below(store.fs, published_path(store, record))
    _write_stamps(store, record, found)


def _stamps_path(store: Store, record: Record) -> str:
    return hidden_path(store, "checked", record.stage, record.fingerprint) + ".json"


def _write_stamps(store: Store, record: Record, stamps: Stamps) -> None:
    files = {name: [stamp.size_bytes, stamp.mark] for name, stamp in stamps.items()}
    data = json.dumps({"folder": record.folder, "files": files}).encode()
    filesystem.write_bytes(store.fs, _stamps_path(store, record), data)


def _recall_stamps(store: Store, record: Record) -> Stamps:
    """Return the stamps of the last full check; none if there was none of this attempt's files."""
    (memo,) = filesystem.read_all(store.fs, [_stamps_path(store, record)])
    try:
        data = json.loads(memo or b"")
        if data["folder"] != record.folder:
            return {}
        return {name: Stamp(size, mark) for name, (size, mark) in data["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}  # the memo is only a saving: without it everything is hashed


def quarantine(
    store: Store, stage: str, fingerprint: str, reason: str, *, expected: Record | None = None
) -> str | None:
    """Move a damaged artifact out of sight, record first, and return where it is now.

    Returns None if there is nothing to move, or no longer the `expected` record: somebody else was
    faster and has built it anew.
    """
    source = record_path(store, stage, fingerprint)
    if not filesystem.exists(store.fs, source):
        return None
    try:
        record = find_record(store, stage, fingerprint)
    except DamagedRecordError:
        record = None
    if expected is not None and record != expected:
        return None
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    unique = f"{moment}-{uuid.uuid4().hex[:8]}"
    place = f"{hidden_path(store, 'quarantine', stage, fingerprint)}-{unique}"
    note = json.dumps({"reason": reason, "moved_at": moment}).encode()
    filesystem.write_bytes(store.fs, f"{place}/reason.json", note)
    try:
        _move_artifact(store, source, record, place)
    except FileNotFoundError:
        return None  # somebody else moved it at the same moment
    filesystem.remove(store.fs, hidden_path(store, "checked", stage, fingerprint) + ".json")
    return filesystem.full_url(store.fs, place)


def _move_artifact(store: Store, source: str, record: Record | None, place: str) -> None:
    filesystem.move(store.fs, source, f"{place}/record.json")
    if record is None:
        return  # nothing tells which of the folders beside it was meant
    folder = published_path(store, record)
    if filesystem.exists(store.fs, folder):
        filesystem.move(store.fs, folder, f"{place}/{record.folder}")
