"""Mirrors: copies of unfinished work in the store, so that another machine can resume it.

A mirror is a set of files and a note that names them. The note is written last, so a mirror is
there whole or not at all. Mirrors are in the builder's staging place, are handed over with the
lease, and go when the artifact is published. A local store has none, because its working folder
already is in the staging place.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from artifacts import filesystem
from artifacts.building.staging import Staging, confirm, staging_folder
from artifacts.content_hash import content_hash
from artifacts.json_text import as_object, parse_json, typed
from artifacts.record import FileEntry

MIRRORS = "mirrors"
"""Their folder in the staging place; it is handed over with the lease."""

KEEP = 2
"""Mirrors kept: an older one is the fallback for a damaged newer one."""


def mirror_files(staging: Staging, name: str, files: Mapping[str, Path]) -> None:
    """Copy files to the store as one mirror; of all mirrors, only the newest two are kept.

    Args:
        staging: The work they belong to.
        name: Its place in the order: later mirrors have names that sort later.
        files: Local files by the name that `restore_newest` gives them again. They are copied
            before they are sent, because a file may grow during the transfer.

    Raises:
        LeaseLostError: Another builder has the lease now.
    """
    fs = staging.store.fs
    if filesystem.local_path(fs, staging.store.root) is not None:
        return
    entries = []
    with tempfile.TemporaryDirectory(dir=staging.workdir) as folder:
        for number, (relative, path) in enumerate(files.items()):
            snapshot = Path(folder) / str(number)
            shutil.copyfile(path, snapshot)
            content = content_hash(snapshot, memo_dir=None)
            entries.append(FileEntry(relative, content.size_bytes, content.sha256))
            place = f"{_folder(staging)}/{name}/{relative}"
            filesystem.upload(fs, snapshot, place, may_link=False)
    note = json.dumps([asdict(entry) for entry in entries]).encode()
    confirm(staging)
    filesystem.write_bytes(fs, _note(staging, name), note)
    for old in _names(staging)[:-KEEP]:
        filesystem.remove(fs, _note(staging, old))
        filesystem.remove_below(fs, f"{_folder(staging)}/{old}")


def restore_newest(staging: Staging) -> str | None:
    """Bring the newest intact mirror into the working folder; return its name, None without one."""
    for name in reversed(_names(staging)):
        if _restore(staging, name):
            return name
    return None


def _restore(staging: Staging, name: str) -> bool:
    """Bring one mirror into the working folder, whole or not at all."""
    fs = staging.store.fs
    (note,) = filesystem.read_all(fs, [_note(staging, name)])
    entries = _entries(note or b"")
    if entries is None:
        return False
    with tempfile.TemporaryDirectory(dir=staging.workdir) as folder:
        for number, entry in enumerate(entries):
            local = Path(folder) / str(number)
            try:
                filesystem.download(fs, f"{_folder(staging)}/{name}/{entry.name}", local)
            except FileNotFoundError:
                return False
            if content_hash(local, memo_dir=None).sha256 != entry.sha256:
                return False
        for number, entry in enumerate(entries):
            destination = staging.workdir / entry.name
            destination.parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / str(number)).replace(destination)
    return True


def _entries(note: bytes) -> list[FileEntry] | None:
    """Return what a note names, or None if it is damaged."""
    try:
        items = typed({"files": parse_json(note)}, "files", list)
        return [FileEntry.from_json(as_object(item)) for item in items]
    except ValueError:
        return None


def _names(staging: Staging) -> list[str]:
    found = filesystem.names_in(staging.store.fs, _folder(staging))
    return [name.removesuffix(".json") for name in found if name.endswith(".json")]


def _note(staging: Staging, name: str) -> str:
    return f"{_folder(staging)}/{name}.json"


def _folder(staging: Staging) -> str:
    return f"{staging_folder(staging)}/{MIRRORS}"
