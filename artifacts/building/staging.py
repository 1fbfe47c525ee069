"""Staging: where the parts of an artifact are collected while it is built, across restarts.

A part is data under a name that nobody else uses, and a small note that names it. The note is
created exclusively, and neither is changed afterwards. So a part is there whole or not at all.

Each hold of the lease has folders of its own. What an earlier holder left is copied into them once,
when the lease changes hands (`handover`), and nobody reads the earlier ones after that. So a
builder that was paused and wakes up late changes nothing that counts.
"""

import json
import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote

from artifacts import filesystem
from artifacts.content_hash import (
    Stamp,
    content_hash,
    find_stamp,
    hash_file,
    stamp_of,
    stamp_of_local,
    stamps_below,
)
from artifacts.identity import ArtifactKey
from artifacts.json_text import as_object, parse_json, typed
from artifacts.lease.lease import Lease
from artifacts.lease.lease_chain import NUMBER_DIGITS
from artifacts.names import check_file_name, check_folder
from artifacts.record import FileEntry
from artifacts.store import Store, hidden_path

ALONE = "alone"
"""Folder of those that build without a lease."""


@dataclass(frozen=True, slots=True)
class Staging:
    """The place where one artifact is built; the same one after a restart."""

    store: Store
    key: ArtifactKey
    """The artifact that is built."""
    workdir: Path
    """The builder's local folder for unfinished work (checkpoints)."""
    lease: Lease | None = None
    """The hold that this belongs to. Without one, all builders share one place."""
    promised: dict[str, FileEntry] = field(default_factory=dict, compare=False)
    """Parts that were added or listed through this object; publishing without one is refused."""


@dataclass(frozen=True, slots=True)
class StagedPart:
    """A finished part and where its data and its note are."""

    entry: FileEntry
    path: str
    note_path: str


def open_staging(store: Store, key: ArtifactKey, lease: Lease | None = None) -> Staging:
    """Open the staging place of one hold of the lease, or the one of those that have none."""
    workdir = local_staging(store, key) / _attempt(lease) / "work"
    with filesystem.storage_explained(str(workdir)):
        workdir.mkdir(parents=True, exist_ok=True)
    return Staging(store, key, workdir, lease)


def local_staging(store: Store, key: ArtifactKey) -> Path:
    """Return this machine's folder for the unfinished work of all builders of an artifact."""
    local = filesystem.local_path(store.fs, hidden_path(store, "staging", key))
    return local or store.cache_dir / "staging" / key.place


def staging_folder(staging: Staging) -> str:
    """Return the path of the builder's own folder in the store."""
    return f"{hidden_path(staging.store, 'staging', staging.key)}/{_attempt(staging.lease)}"


def confirm(staging: Staging) -> None:
    """Look from time to time whether the builder still has its lease.

    Raises:
        LeaseLostError: It has not, and has to stop.
    """
    if staging.lease is not None:
        staging.lease.confirm()


def _attempt(lease: Lease | None) -> str:
    return lease.attempt if lease else ALONE


def add_part(
    staging: Staging, local_path: Path, name: str, *, move: bool = False, replace: bool = False
) -> FileEntry:
    """Put a finished file into the staging place, where it survives a crash of this process.

    Adding the same content under the same name again does nothing.

    Args:
        staging: The staging place.
        local_path: The finished file; it is copied unless `move` is given.
        name: Its name in the artifact, with forward slashes for sub-folders.
        move: Remove the local file afterwards. On one disk nothing is copied then, so nobody may
            have the file open for writing, not even a builder that was taken for dead. Write it
            under a unique name.
        replace: Let other content replace an earlier part of this name. For files that differ from
            build to build, such as timings.

    Raises:
        ValueError: The name is not relative, a part of this name has other content, or the file
            is still being written.
        OSError: No space is left; what was finished stays.
        LeaseLostError: Another builder has the lease now.
    """
    check_file_name(name)
    confirm(staging)
    before = stamp_of_local(local_path)
    content = content_hash(local_path, memo_dir=None)
    entry = FileEntry(name, content.size_bytes, content.sha256)
    known = _intact_part(staging, name)
    if known is None or not _is_settled(known.entry, entry, replace=replace):
        with filesystem.storage_explained(staging.store.url):
            data_name = _upload(staging, local_path, before, may_link=move)
            _name(staging, entry, data_name, is_new=known is None, replace=replace)
    if move:
        local_path.unlink()  # only now, so that a crash before never loses the content
    staging.promised[name] = entry
    return entry


def _upload(staging: Staging, local_path: Path, before: Stamp, *, may_link: bool) -> str:
    """Store the data under a name that nobody else uses, and return that name."""
    fs = staging.store.fs
    data_name = uuid.uuid4().hex
    path = _data_path(staging, data_name)
    filesystem.upload(fs, local_path, path, may_link=may_link)
    if stamp_of_local(local_path) != before:
        filesystem.remove(fs, path)
        raise ValueError(
            f"{local_path} changed while it was staged; add a part when its writer is done, and "
            "let no two builders write the same file"
        )
    return data_name


def _name(
    staging: Staging, entry: FileEntry, data_name: str, *, is_new: bool, replace: bool
) -> None:
    """Create the note that makes uploaded data the part of its name."""
    fs, note_path = staging.store.fs, _note_path(staging, entry.name)
    path = _data_path(staging, data_name)
    data = part_note(entry, data_name, stamp_of(fs, path))
    if is_new and not filesystem.exists(fs, note_path):
        if filesystem.create_exclusive(fs, note_path, data):
            return
        winner = _intact_part(staging, entry.name)
        if winner is not None and _is_settled(winner.entry, entry, replace=replace):
            filesystem.remove(fs, path)
            return
    filesystem.write_bytes(fs, note_path, data)


def part_note(entry: FileEntry, data_name: str, stamp: Stamp) -> bytes:
    """Return the note that makes data the part of its name."""
    note = {"entry": asdict(entry), "data": data_name, "stamp": asdict(stamp)}
    return json.dumps(note).encode()


def _is_settled(known: FileEntry, entry: FileEntry, *, replace: bool) -> bool:
    """Return whether the part that is there already is the one to be added.

    Raises:
        ValueError: It has other content, and may not be replaced.
    """
    if known != entry and not replace:
        raise ValueError(
            f"part {entry.name!r} is already staged with other content (sha256 "
            f"{known.sha256[:16]}, now {entry.sha256[:16]}); parts never change: use another name, "
            "or replace=True for a file that differs from build to build"
        )
    return known == entry


def staged_parts(staging: Staging) -> dict[str, FileEntry]:
    """Return the finished parts that are intact, by name, so that a restart resumes from there."""
    parts = {part.entry.name: part.entry for part in intact_parts(staging)}
    staging.promised.update(parts)
    return parts


def part_head(staging: Staging, name: str, num_bytes: int) -> bytes:
    """Return the first bytes of a finished part, or all that it has, wherever it is stored.

    Raises:
        FileNotFoundError: There is no intact part of this name.
    """
    part = _intact_part(staging, name)
    if part is None:
        raise FileNotFoundError(f"no intact part {name!r} is staged for {staging.key.place}")
    stop = min(num_bytes, part.entry.size_bytes)
    return filesystem.read_range(staging.store.fs, part.path, 0, stop)


def intact_parts(staging: Staging) -> list[StagedPart]:
    """Return the parts whose data is what their notes say."""
    fs, folder = staging.store.fs, staging_folder(staging)
    notes = [name for name in filesystem.names_in(fs, f"{folder}/parts") if name.endswith(".json")]
    paths = [f"{folder}/parts/{name}" for name in notes]
    found = stamps_below(fs, f"{folder}/data")
    parts = [
        _part_of(staging, path, note, found.get)
        for path, note in zip(paths, filesystem.read_all(fs, paths), strict=True)
    ]
    return [part for part in parts if part is not None]


def _intact_part(staging: Staging, name: str) -> StagedPart | None:
    fs, path = staging.store.fs, _note_path(staging, name)
    (note,) = filesystem.read_all(fs, [path])
    return _part_of(staging, path, note, lambda name: find_stamp(fs, _data_path(staging, name)))


def _part_of(
    staging: Staging, note_path: str, note: bytes | None, find: Callable[[str], Stamp | None]
) -> StagedPart | None:
    """Return a part if its note can be read and its data is what the note says."""
    try:
        data = as_object(parse_json(note or b""))
        entry = FileEntry.from_json(typed(data, "entry", dict))
        mark = typed(data, "stamp", dict)
        stamp = Stamp(typed(mark, "size_bytes", int), typed(mark, "mark", str))
        data_name = typed(data, "data", str)
        check_folder(data_name)
        now = find(data_name)
        part = StagedPart(entry, _data_path(staging, data_name), note_path)
    except ValueError:
        return None  # as if it had not been finished: the builder makes it again
    if now is None or now.size_bytes != entry.size_bytes:
        return None
    is_whole = now == stamp or hash_file(staging.store.fs, part.path).sha256 == entry.sha256
    return part if is_whole else None


def _data_path(staging: Staging, data_name: str) -> str:
    return f"{staging_folder(staging)}/data/{data_name}"


def _note_path(staging: Staging, name: str) -> str:
    return f"{staging_folder(staging)}/parts/{quote(name, safe='')}.json"


def clear(staging: Staging, parts: Sequence[StagedPart]) -> None:
    """Remove what was published, and what earlier holders of the lease left."""
    if staging.lease is not None:
        remove_attempts(staging, below=staging.lease.number + 1)
        return
    fs = staging.store.fs
    for part in parts:  # exactly these: another builder may be adding new ones
        filesystem.remove(fs, part.note_path)
        filesystem.remove(fs, part.path)
    shutil.rmtree(staging.workdir, ignore_errors=True)


def remove_attempts(staging: Staging, *, below: int) -> None:
    """Remove the folders of all holds of the lease before a number, here and in the store."""
    store, key = staging.store, staging.key
    for name in attempts(store, key, below=below):
        filesystem.remove_below(store.fs, f"{hidden_path(store, 'staging', key)}/{name}")
    for folder in local_staging(store, key).glob(f"{'[0-9]' * NUMBER_DIGITS}-*"):
        if number_of(folder.name) < below:
            shutil.rmtree(folder, ignore_errors=True)


def attempts(store: Store, key: ArtifactKey, *, below: int) -> list[str]:
    """Return the names of the holds before a number that have a folder in the store, in order."""
    names = filesystem.names_in(store.fs, hidden_path(store, "staging", key))
    return [name for name in names if number_of(name) < below]


def number_of(attempt: str) -> int:
    """Return the number of a hold, or a huge one if it is no hold's name."""
    digits = attempt.partition("-")[0]
    return int(digits) if len(digits) == NUMBER_DIGITS and digits.isdecimal() else 10**NUMBER_DIGITS
