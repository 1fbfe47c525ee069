"""Reading: a local folder with an artifact's files, wherever the store is.

A local store is read in place. From any other store, files are copied into a cache below
`cache_dir`, one folder per artifact, and each file is compared with the record as it arrives. When
the cache is full, the folder that was not used for the longest time is removed first. A folder in
use has a shared lock of the operating system until the process that uses it ends, and no process
removes a locked folder.
"""

import fcntl
import hashlib
import logging
import os
import shutil
import uuid
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from artifacts import filesystem
from artifacts.content_hash import ContentHash, content_hash, remember
from artifacts.filesystem import Filesystem
from artifacts.identity import Reference
from artifacts.names import local_place
from artifacts.record import ExternalFile, FileEntry
from artifacts.store import Store, no_such_file, published_path, record_of

logger = logging.getLogger(__name__)


def local_folder(store: Store, reference: Reference, names: Collection[str] | None = None) -> Path:
    """Return a local folder that holds an artifact's published files under their names.

    It must not be written to. What is read from a remote store stays until this process ends.

    Args:
        store: The store to read from.
        reference: The artifact.
        names: Only these files are needed; None for all.

    Raises:
        FileNotFoundError: The artifact or a file of it is not there.
        ValueError: A file that arrived is not what the record says.
    """
    record = record_of(store, reference)
    entries = [entry for entry in record.files if names is None or entry.name in names]
    for name in set(names or ()) - {entry.name for entry in entries}:
        raise FileNotFoundError(no_such_file(record, name))
    source = published_path(store, record)
    local = filesystem.local_path(store.fs, source)
    if local is not None:
        return local
    folder = _cache_root(store) / f"{record.place}-{record.folder}"
    wanted = [(f"{source}/{entry.name}", entry) for entry in entries]
    return _filled(store, folder, store.fs, wanted)


def local_files(store: Store, reference: Reference, pattern: str) -> list[Path]:
    """Return the local paths of the published files whose names fit a pattern, sorted.

    The record says which there are: what else is in the folder is nobody's.

    Raises:
        FileNotFoundError: The artifact is not there.
        ValueError: A file that arrived is not what the record says.
    """
    files = record_of(store, reference).files
    names = sorted(entry.name for entry in files if fnmatchcase(entry.name, pattern))
    folder = local_folder(store, reference, names)
    return [folder / name for name in names]


def local_file(store: Store, reference: Reference, name: str) -> Path:
    """Return the local path of one file of an artifact, published or external.

    Raises:
        FileNotFoundError: The artifact or the file is not there.
        ValueError: A file that arrived is not what the record says.
    """
    for external in record_of(store, reference).external_files:
        if external.name == name:
            return _external_file(external)
    return local_folder(store, reference, [name]) / name


def _external_file(external: ExternalFile) -> Path:
    path = local_place(external.uri)
    if not path.is_file():
        raise FileNotFoundError(
            f"{external.name} should be at {external.uri}, but there is no such file; "
            "put it back, or name its new place in the config"
        )
    return path


def _cache_root(store: Store) -> Path:
    return store.cache_dir / "files"


def _filled(
    store: Store, folder: Path, fs: Filesystem, wanted: Iterable[tuple[str, FileEntry]]
) -> Path:
    """Bring the wanted files (path in the filesystem, entry) into a cache folder and lock it."""
    with filesystem.storage_explained(str(store.cache_dir)):
        _hold(store, folder)
        memo_dir = store.cache_dir / "sources"
        missing = [
            (path, entry)
            for path, entry in wanted
            if not _is_there(folder / entry.name, entry, memo_dir)
        ]
        _make_room(store, sum(entry.size_bytes for _, entry in missing))
        for path, entry in missing:
            _bring(fs, path, folder / entry.name, entry)
            remember(folder / entry.name, ContentHash(entry.sha256, entry.size_bytes), memo_dir)
    return folder


def _is_there(path: Path, entry: FileEntry, memo_dir: Path) -> bool:
    if not path.is_file() or path.stat().st_size != entry.size_bytes:
        return False
    return content_hash(path, memo_dir=memo_dir).sha256 == entry.sha256


def _bring(fs: Filesystem, path: str, destination: Path, entry: FileEntry) -> None:
    """Copy one file to the local disk, whole and with the expected hash or not at all."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = destination.parent / f".{destination.name}.{uuid.uuid4().hex}"
    digest = hashlib.sha256()
    try:
        with temporary.open("xb") as file:
            for block in filesystem.read_blocks(fs, path):
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != entry.sha256:
            raise ValueError(
                f"{filesystem.full_url(fs, path)} has sha256 {digest.hexdigest()[:16]} instead of "
                f'{entry.sha256[:16]}; "owt artifacts verify" shows what is damaged, and the next '
                "run builds it again"
            )
        temporary.replace(destination)
    finally:
        temporary.unlink(missing_ok=True)


def _lock_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _hold(store: Store, folder: Path) -> None:
    """Lock a cache folder for the rest of this process, and mark it as used now."""
    lock = _lock_path(folder)
    if str(folder) not in store.held_folders:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_SH)  # waits while another process removes it
        # Never closed: the lock ends with the process, even if it is killed.
        store.held_folders[str(folder)] = descriptor
        folder.mkdir(parents=True, exist_ok=True)
    os.utime(lock)


def _make_room(store: Store, needed_bytes: int) -> None:
    """Remove folders from the cache, the oldest use first, until so many bytes more fit in."""
    if needed_bytes == 0:
        return
    locks = list(_cache_root(store).glob("*/*.lock"))
    sizes = {lock: _size_bytes(lock.with_suffix("")) for lock in locks}
    total = sum(sizes.values()) + needed_bytes
    for lock in sorted(locks, key=lambda path: path.stat().st_mtime_ns):
        if total <= store.cache_limit_bytes:
            return
        if sizes[lock] and _evict(lock):
            total -= sizes[lock]
    if total > store.cache_limit_bytes:
        logger.warning(
            "the cache %s holds %d bytes, above its limit of %d: all of it is in use",
            store.cache_dir,
            total,
            store.cache_limit_bytes,
        )


def _evict(lock: Path) -> bool:
    """Remove the folder of a lock unless some process uses it."""
    descriptor = os.open(lock, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(lock.with_suffix(""))
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
