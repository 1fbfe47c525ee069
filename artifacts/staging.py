"""Staging: where the parts of an artifact are collected while it is built, across restarts.

A part is data under a name that nobody else uses, and a small note that names it. The note is
created exclusively, and neither is changed afterwards. So a part is there whole or not at all, and
a builder that was paused and wakes up late cannot change what another one has staged.
"""

import json
import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO
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
from artifacts.record import FileEntry
from artifacts.store import Store, hidden_path


@dataclass(frozen=True, slots=True)
class Staging:
    """The place where one artifact is built; the same one after a restart."""

    store: Store
    key: ArtifactKey
    """The artifact that is built."""
    workdir: Path
    """The builder's local folder for unfinished work (checkpoints). It survives restarts."""
    promised: dict[str, FileEntry] = field(default_factory=dict, compare=False)
    """Parts that were added or listed through this object; publishing without one is refused."""


@dataclass(frozen=True, slots=True)
class StagedPart:
    """A finished part and where its data and its note are."""

    entry: FileEntry
    path: str
    note_path: str


def open_staging(store: Store, key: ArtifactKey) -> Staging:
    """Open the staging place of an artifact, with what an earlier attempt left there."""
    local = filesystem.local_path(store.fs, hidden_path(store, "staging", key))
    base = local or store.cache_dir / "staging" / key.place
    workdir = base / "work"
    with filesystem.disk_full_explained(str(base)):
        workdir.mkdir(parents=True, exist_ok=True)
    return Staging(store, key, workdir)


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
    """
    _check_name(name)
    before = stamp_of_local(local_path)
    content = content_hash(local_path, memo_dir=None)
    entry = FileEntry(name, content.size_bytes, content.sha256)
    known = _intact_part(staging, name)
    if known is None or not _is_settled(known.entry, entry, replace=replace):
        with filesystem.disk_full_explained(staging.store.url):
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
    note = {"entry": asdict(entry), "data": data_name, "stamp": asdict(stamp_of(fs, path))}
    data = json.dumps(note).encode()
    if is_new and not filesystem.exists(fs, note_path):
        if filesystem.create_exclusive(fs, note_path, data):
            return
        winner = _intact_part(staging, entry.name)
        if winner is not None and _is_settled(winner.entry, entry, replace=replace):
            filesystem.remove(fs, path)
            return
    filesystem.write_bytes(fs, note_path, data)


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


def open_part(staging: Staging, name: str) -> IO[bytes]:
    """Open a finished part for reading, wherever it is stored.

    Raises:
        FileNotFoundError: There is no intact part of this name.
    """
    part = _intact_part(staging, name)
    if part is None:
        raise FileNotFoundError(f"no intact part {name!r} is staged for {staging.key.place}")
    file: IO[bytes] = staging.store.fs.open(part.path, "rb")
    return file


def intact_parts(staging: Staging) -> list[StagedPart]:
    """Return the parts whose data is what their notes say."""
    fs, folder = staging.store.fs, _folder(staging)
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
        data = json.loads(note or b"")
        entry, stamp = FileEntry.from_json(data["entry"]), Stamp(**data["stamp"])
        now = find(data["data"])
        part = StagedPart(entry, _data_path(staging, data["data"]), note_path)
    except (ValueError, KeyError, TypeError):
        return None  # as if it had not been finished: the builder makes it again
    if now is None or now.size_bytes != entry.size_bytes:
        return None
    is_whole = now == stamp or hash_file(staging.store.fs, part.path).sha256 == entry.sha256
    return part if is_whole else None


def _check_name(name: str) -> None:
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or str(path) != name or name == ".":
        raise ValueError(
            f"file name {name!r} must be relative, with forward slashes and without . or .. parts"
        )


def _folder(staging: Staging) -> str:
    return hidden_path(staging.store, "staging", staging.key)


def _data_path(staging: Staging, data_name: str) -> str:
    return f"{_folder(staging)}/data/{data_name}"


def _note_path(staging: Staging, name: str) -> str:
    return f"{_folder(staging)}/parts/{quote(name, safe='')}.json"


def clear(staging: Staging, parts: Sequence[StagedPart]) -> None:
    """Remove exactly the parts that were published; another builder may be adding new ones."""
    fs = staging.store.fs
    for part in parts:
        filesystem.remove(fs, part.note_path)
        filesystem.remove(fs, part.path)
    shutil.rmtree(staging.workdir, ignore_errors=True)
