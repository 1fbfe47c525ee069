"""The hand-over: how a new holder of the lease gets what the one before left.

Finished parts and mirrors never change, so they get second names in the new holder's folders.
Unfinished work is copied byte by byte, so that the old holder, which may only sleep, has no file
open that counts. A marker is written last. The next holder takes over from the newest one with a
marker, so what an old holder writes after its successor has begun is read by nobody.
"""

import errno
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from artifacts import filesystem
from artifacts.building.mirror import MIRRORS
from artifacts.building.staging import (
    StagedPart,
    Staging,
    attempts,
    intact_parts,
    local_staging,
    open_staging,
    part_note,
    remove_attempts,
    staging_folder,
)
from artifacts.content_hash import stamps_below
from artifacts.lease.lease import Lease, lease_of
from artifacts.store import hidden_path

_MARKER = "begun"

_TRIES = 3
"""Copies of the work folder before one with a gap is taken: the old holder may remove files."""


def take_over(lease: Lease, *, work: Sequence[str] = ()) -> Staging:
    """Open the staging place of a new hold, with what the one before left.

    Args:
        lease: The new hold.
        work: Patterns (as of `Path.glob`) of the unfinished files that are of use to a successor.
            Names that begin with a dot are left out, for they are not whole.
    """
    staging = open_staging(lease.store, lease.key, lease)
    marker = f"{staging_folder(staging)}/{_MARKER}"
    fs = lease.store.fs
    if filesystem.exists(fs, marker):
        return staging
    with filesystem.storage_explained(lease.store.url):
        while not _inherit(staging, work):
            lease.confirm(at_once=True)
            _start_over(staging)
    filesystem.write_bytes(fs, marker, b"")
    remove_attempts(staging, below=lease.number)
    return staging


def _inherit(staging: Staging, work: Sequence[str]) -> bool:
    """Take what the hold before left; return False if that is not the one before any more.

    A hold in between, that was lost while it took over itself, may wake up, end its hand-over and
    remove what is older. Then all of that is in its own folder.
    """
    before = _predecessor(staging)
    if before is None:
        return True
    try:
        _adopt_parts(staging, before)
        _adopt_mirrors(staging, before)
        _copy_work(before.workdir, staging.workdir, work)
    except FileNotFoundError:
        return False
    now = _predecessor(staging)
    return now is not None and now.workdir == before.workdir


def _predecessor(staging: Staging) -> Staging | None:
    """Return the staging place of the newest earlier hold that had begun."""
    store, key, lease = staging.store, staging.key, staging.lease
    assert lease is not None
    for name in reversed(attempts(store, key, below=lease.number)):
        earlier = lease_of(store, key, name)
        if earlier.number <= lease.floor:
            return None
        if filesystem.exists(store.fs, f"{hidden_path(store, 'staging', key)}/{name}/{_MARKER}"):
            return Staging(store, key, local_staging(store, key) / name / "work", earlier)
    return None


def _start_over(staging: Staging) -> None:
    filesystem.remove_below(staging.store.fs, staging_folder(staging))
    shutil.rmtree(staging.workdir, ignore_errors=True)
    staging.workdir.mkdir(parents=True)


def _adopt_parts(staging: Staging, before: Staging) -> None:
    """Give the finished parts second names; their notes come last."""
    fs, parts = staging.store.fs, intact_parts(before)
    moved = [_moved(part, before, staging) for part in parts]
    pairs = list(zip(parts, moved, strict=True))
    filesystem.copy_within(fs, {old.path: new.path for old, new in pairs})
    was = stamps_below(fs, f"{staging_folder(before)}/data")
    now = stamps_below(fs, f"{staging_folder(staging)}/data")
    same = {}
    for old, new in pairs:
        name = Path(new.path).name
        stamp = now.get(name)
        if stamp is None:
            raise FileNotFoundError(errno.ENOENT, "gone again, because its lease is lost", new.path)
        if was.get(name) == stamp:
            same[old.note_path] = new.note_path
        else:  # an object store may give the copy another mark
            filesystem.write_bytes(fs, new.note_path, part_note(new.entry, name, stamp))
    filesystem.copy_within(fs, same)


def _moved(part: StagedPart, before: Staging, staging: Staging) -> StagedPart:
    old, new = staging_folder(before), staging_folder(staging)
    path = new + part.path.removeprefix(old)
    return replace(part, path=path, note_path=new + part.note_path.removeprefix(old))


def _adopt_mirrors(staging: Staging, before: Staging) -> None:
    fs, source = staging.store.fs, f"{staging_folder(before)}/{MIRRORS}"
    destination = f"{staging_folder(staging)}/{MIRRORS}"
    names = stamps_below(fs, source)
    filesystem.copy_within(fs, {f"{source}/{name}": f"{destination}/{name}" for name in names})


def _copy_work(source: Path, destination: Path, patterns: Sequence[str]) -> None:
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):  # a folder went while it was listed
            found = [path for pattern in patterns for path in sorted(source.glob(pattern))]
            files = [path for path in found if _is_whole_file(path.relative_to(source), path)]
            copied = [_copy(path, destination / path.relative_to(source)) for path in files]
            if all(copied):
                return


def _is_whole_file(relative: Path, path: Path) -> bool:
    is_hidden = any(part.startswith(".") for part in relative.parts)
    return not is_hidden and path.is_file() and not path.is_symlink()


def _copy(path: Path, destination: Path) -> bool:
    """Copy one file; return False if it is gone."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(path, destination)
    except FileNotFoundError:
        with suppress(FileNotFoundError):
            destination.unlink()
        return False
    return True
