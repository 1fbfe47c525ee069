"""Reading: a local folder with an artifact's files, wherever the store is.

A local store is read in place. From any other store files come into a cache below `cache_dir`, one
folder an artifact, each file checked against the record as it arrives. Above the size limit the
folder that was used least recently goes first. A folder that a process uses carries a shared lock
of the operating system until that process ends, and no process evicts a locked one.
"""

import fcntl
import hashlib
import logging
import os
import shutil
import uuid
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from artifacts import filesystem
from artifacts.content_hash import ContentHash, content_hash, remember
from artifacts.filesystem import OnProgress, shares
from artifacts.record import ExternalFile, FileEntry, Reference
from artifacts.store import Store, no_such_file, published_path, record_of

logger = logging.getLogger(__name__)


def local_folder(
    store: Store,
    reference: Reference,
    names: Collection[str] | None = None,
    *,
    on_progress: OnProgress | None = None,
) -> Path:
    """Return a local folder that holds an artifact's published files under their names.

    It must not be written to. What is read from a remote store stays until this process ends.

    Args:
        store: Where the artifact lies.
        reference: Which artifact.
        names: Only these files are needed; None for all.
        on_progress: Called with bytes brought and to be brought in all; not at all if none are.

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
    folder = _cache_root(store) / record.stage / f"{record.fingerprint[:16]}-{record.folder}"
    wanted = [(f"{source}/{entry.name}", entry) for entry in entries]
    return _filled(store, folder, store.fs, wanted, on_progress)


def local_file(
    store: Store, reference: Reference, name: str, *, on_progress: OnProgress | None = None
) -> Path:
    """Return the local path of one file of an artifact, published or external.

    Raises:
        FileNotFoundError: The artifact or the file is not there.
        ValueError: A file that arrived is not what the record says.
    """
    for external in record_of(store, reference).external_files:
        if external.name == name:
            return _external_file(store, external, on_progress)
    return local_folder(store, reference, [name], on_progress=on_progress) / name


def _external_file(store: Store, external: ExternalFile, on_progress: OnProgress | None) -> Path:
    fs, path = filesystem.open_filesystem(external.uri, {})
    local = filesystem.local_path(fs, path)
    if local is not None and not local.is_file():
        raise FileNotFoundError(
            f"{external.name} should be at {external.uri}, but there is no such file; "
            "put it back, or name its new place in the config"
        )
    if local is not None:
        return local
    entry = FileEntry(Path(external.name).name, external.size_bytes, external.sha256)
    folder = _cache_root(store) / "external" / external.sha256
    return _filled(store, folder, fs, [(path, entry)], on_progress) / entry.name


def _cache_root(store: Store) -> Path:
    return store.cache_dir / "files"


def _filled(
    store: Store,
    folder: Path,
    fs: Any,
    wanted: Iterable[tuple[str, FileEntry]],
    on_progress: OnProgress | None,
) -> Path:
    """Bring the wanted files (path in the filesystem, entry) into a cache folder and lock it."""
    with filesystem.disk_full_explained(str(store.cache_dir)):
        _hold(store, folder)
        memo_dir = store.cache_dir / "sources"
        missing = [
            item for item in wanted if not _is_there(folder / item[1].name, item[1], memo_dir)
        ]
        sizes_bytes = [entry.size_bytes for _, entry in missing]
        _make_room(store, sum(sizes_bytes))
        for (path, entry), progress in zip(missing, shares(sizes_bytes, on_progress), strict=True):
            _bring(fs, path, folder / entry.name, entry, progress)
            remember(folder / entry.name, ContentHash(entry.sha256, entry.size_bytes), memo_dir)
    return folder


def _is_there(path: Path, entry: FileEntry, memo_dir: Path) -> bool:
    if not path.is_file() or path.stat().st_size != entry.size_bytes:
        return False
    return content_hash(path, memo_dir=memo_dir).sha256 == entry.sha256


def _bring(
    fs: Any, path: str, destination: Path, entry: FileEntry, on_progress: OnProgress | None
) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = destination.parent / f".{destination.name}.{uuid.uuid4().hex}"
    digest = hashlib.sha256()
    try:
        with temporary.open("xb") as file:
            for block in filesystem.read_blocks(fs, path):
                digest.update(block)
                file.write(block)
                if on_progress:
                    on_progress(file.tell(), entry.size_bytes)
        if digest.hexdigest() != entry.sha256:
            raise ValueError(
                f"{filesystem.full_url(fs, path)} has sha256 {digest.hexdigest()[:16]} instead of "
                f'{entry.sha256[:16]}; "owt artifacts verify" tells what is damaged, and the next '
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
        fcntl.flock(descriptor, fcntl.LOCK_SH)  # waits while another process evicts it
        # Never closed: the lock ends with the process, even if it is killed.
        store.held_folders[str(folder)] = descriptor
        folder.mkdir(parents=True, exist_ok=True)
    os.utime(lock)


def _make_room(store: Store, needed_bytes: int) -> None:
    """Evict folders, the least recently used first, until so much more fits below the limit."""
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
