"""The one place that knows what kind of filesystem the store is on.

Every function takes an fsspec filesystem and a path inside it. It does the same for a local folder,
`memory://` and an object store. How a write is made atomic or exclusive differs between them, and
that stays in this file.
"""

import errno
import json
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeAlias

import fsspec
from fsspec.implementations.local import LocalFileSystem

from artifacts import local_disk, object_store
from artifacts.patience import PatientFilesystem, try_again

Filesystem: TypeAlias = fsspec.AbstractFileSystem
"""A filesystem of fsspec. fsspec ships no types, so mypy does not check calls of its methods."""

OnProgress = Callable[[int, int], None]
"""Called with what is done and what is to be done in all, in bytes."""

BLOCK_BYTES = 16 * 2**20
"""Bytes of one request: many, so that the latency of an object store does not count, and few in
memory."""

_NUM_REQUESTS = 16
"""Requests at a time to an object store, whose answers take longer than the work."""

_READS = 4
"""Reads of a small file of a remote store whose answers are no JSON."""

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


def open_filesystem(url: str | Path) -> tuple[Filesystem, str]:
    """Return the fsspec filesystem of a URL or local path, and the path inside it.

    A `Path` is taken as it is, whatever characters it has. Listings are not cached: other processes
    write to the same place.
    """
    if isinstance(url, Path):
        return LocalFileSystem(), str(url.absolute())
    filesystem, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    if isinstance(filesystem, LocalFileSystem):
        return filesystem, str(Path(path).absolute())
    return PatientFilesystem(filesystem), path.rstrip("/")


def local_path(fs: Filesystem, path: str) -> Path | None:
    """Return the path on this machine's disk, or None where the file has to be fetched."""
    return Path(path) if isinstance(fs, LocalFileSystem) else None


def full_url(fs: Filesystem, path: str) -> str:
    """Return the name by which any other program opens the file: a path if local, else a URL."""
    return path if isinstance(fs, LocalFileSystem) else str(fs.unstrip_protocol(path))


@contextmanager
def storage_explained(place: str) -> Iterator[None]:
    """Turn "no space left" and "forbidden" into messages that name the place and what to do."""
    try:
        yield
    except OSError as error:
        explanation = _explain(place, error)
        if explanation is None:
            raise
        raise explanation from error


def _explain(place: str, error: OSError) -> OSError | None:
    what = error.strerror or str(error)
    if error.errno in _DISK_FULL:
        return OSError(
            error.errno,
            f"no space left while writing under {place} ({what}); free space there or "
            "choose another place, and run again: what is finished is kept",
        )
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return PermissionError(
            error.errno or errno.EACCES,
            f"no access to {place} ({what}); give this user the right to read and write there, or "
            "the right credentials (for s3:// in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or "
            "choose another place",
        )
    if isinstance(error, NotADirectoryError):
        return NotADirectoryError(
            errno.ENOTDIR, f"{place}, or a folder above it, is a file ({what}); name a folder"
        )
    return None


def read_bytes(fs: Filesystem, path: str) -> bytes:
    """Return the whole content of a small file; FileNotFoundError if there is none."""
    return bytes(fs.cat_file(path))


def read_all(fs: Filesystem, paths: Sequence[str]) -> list[bytes | None]:
    """Return the contents of small JSON files, in order; None for one that is not there.

    A folder of the name is as an empty file. An answer of a remote store that is no JSON is asked
    for again, because it may have been cut off.
    """
    if local_path(fs, "") is not None:
        return [_read_if_there(fs, path) for path in paths]
    with ThreadPoolExecutor(_NUM_REQUESTS) as pool:
        return list(pool.map(partial(_read_whole, fs), paths))


def _read_whole(fs: Filesystem, path: str) -> bytes | None:
    data = _read_if_there(fs, path)
    for _ in range(_READS - 1):
        if not data or _is_json(data):
            break
        data = _read_if_there(fs, path)
    return data


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):  # too many brackets within brackets
        return False
    return True


def _read_if_there(fs: Filesystem, path: str) -> bytes | None:
    try:
        return read_bytes(fs, path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError:
        return b""  # there is something, and it is not what it should be


def read_blocks(fs: Filesystem, path: str) -> Iterator[bytes]:
    """Yield the content of a file of any size, block by block."""
    local = local_path(fs, path)
    if local is not None:
        with local.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block
        return
    size_bytes = int(fs.info(path)["size"])
    for start in range(0, size_bytes, BLOCK_BYTES):
        # By ranges, because all readers of a file on memory:// share one position.
        yield read_range(fs, path, start, min(start + BLOCK_BYTES, size_bytes))


def download(fs: Filesystem, path: str, destination: Path) -> None:
    """Bring a file to a local path."""
    with destination.open("wb") as file:
        for block in read_blocks(fs, path):
            file.write(block)


def read_range(fs: Filesystem, path: str, start: int, stop: int) -> bytes:
    """Return a range of a file, whole: an answer that was cut off is asked for again."""

    def read() -> bytes:
        data = bytes(fs.cat_file(path, start=start, end=stop))
        if len(data) != stop - start:
            raise OSError(errno.EIO, f"the answer was cut off after {len(data)} bytes", path)
        return data

    return try_again(read)


def write_bytes(fs: Filesystem, path: str, data: bytes) -> None:
    """Create or replace a small file in one step: readers see the old content or the new one."""
    local = local_path(fs, path)
    if local is None:
        object_store.write(fs, path, data)
        return
    local_disk.write_beside(local, data).replace(local)


def create_exclusive(fs: Filesystem, path: str, data: bytes) -> bool:
    """Create a small file with all its content, or return False if there is one already.

    The content must be unique to the caller. A client repeats a write whose answer got lost. If the
    file that is there holds exactly this content, the write counts as won.
    """
    local = local_path(fs, path)
    if local is None:
        return object_store.create(fs, path, data)
    try:
        local_disk.create(local, data)
    except FileExistsError:
        return _read_if_there(fs, path) == data
    return True


def upload(fs: Filesystem, source: Path, path: str, *, may_link: bool) -> None:
    """Bring a local file to a path that nobody else uses; its content is on disk after this.

    With `may_link` the path may become a second name of the same data, so that on one disk nothing
    is copied. Then the source must not be written to any more.
    """
    local = local_path(fs, path)
    if local is None:
        object_store.upload(fs, source, path)
    elif may_link:
        local_disk.link_or_copy(source, local)
        local_disk.sync(local)  # who wrote it need not have waited for the disk
    else:
        local_disk.copy(source, local)


def copy_within(fs: Filesystem, names: Mapping[str, str]) -> None:
    """Give stored files second names (new by old); all are on disk after this.

    A hard link if local, a server-side copy if not.
    """
    folders = {local.parent for path in names.values() if (local := local_path(fs, path))}
    if not folders:
        with ThreadPoolExecutor(_NUM_REQUESTS) as pool:
            list(pool.map(partial(object_store.copy, fs), names.keys(), names.values()))
        return
    for source, path in names.items():
        local_disk.link_or_copy(Path(source), Path(path))
    for folder in sorted(folders):  # once each: a sync takes milliseconds, a link microseconds
        local_disk.sync(folder)
        local_disk.sync(folder.parent)


def exists(fs: Filesystem, path: str) -> bool:
    """Return whether there is a file or a folder of this name."""
    return bool(fs.exists(path))


def names_in(fs: Filesystem, folder: str) -> list[str]:
    """Return the names of the files and folders directly in a folder, sorted; none if absent."""
    try:
        found = fs.ls(folder, detail=False)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted({str(path).rstrip("/").rsplit("/", 1)[-1] for path in found})


def move(fs: Filesystem, source: str, destination: str) -> None:
    """Move a file or a folder with all below it; a rename if local, file by file if not."""
    local = local_path(fs, destination)
    if local is not None:
        local.parent.mkdir(parents=True, exist_ok=True)
        Path(source).rename(local)
        return
    for path in fs.find(source):
        object_store.move(fs, path, destination + path.removeprefix(source))


def remove(fs: Filesystem, path: str) -> None:
    """Remove a file if it is there."""
    with suppress(FileNotFoundError):
        fs.rm_file(path)


def remove_below(fs: Filesystem, folder: str) -> None:
    """Remove a folder with all below it if it is there."""
    local = local_path(fs, folder)
    if local is not None:
        shutil.rmtree(local, ignore_errors=True)
        return
    for path in fs.find(folder):
        remove(fs, path)


def size_and_change(fs: Filesystem, path: str) -> tuple[int, float]:
    """Return the bytes of a file or of all below a folder, and when any of it changed last.

    The moment is in seconds since 1970; 0 where nothing is there or the filesystem does not say.
    """
    local = local_path(fs, path)
    if local is not None:
        return _local_size_and_change(local)
    try:
        found = fs.find(path, detail=True).values()
    except FileNotFoundError:
        return 0, 0.0
    moments = [info.get("LastModified") or info.get("created") for info in found]
    changed = max((moment.timestamp() for moment in moments if moment is not None), default=0.0)
    return sum(int(info["size"] or 0) for info in found), changed


def _local_size_and_change(path: Path) -> tuple[int, float]:
    size_bytes, changed = 0, 0.0
    # A folder counts too: a moved or linked file keeps its own old date.
    for found in (path, *path.rglob("*")):
        with suppress(FileNotFoundError):  # removed meanwhile
            status = found.lstat()
            changed = max(changed, status.st_mtime)
            size_bytes += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return size_bytes, changed
