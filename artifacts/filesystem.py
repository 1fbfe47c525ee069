"""The one place that knows what kind of filesystem the store lies on.

Every function takes an fsspec filesystem and a path inside it, and does the same for a local
folder, `memory://` and an object store: only how an atomic or exclusive write is done differs, and
that stays in this file.
"""

import errno
import hashlib
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

OnProgress = Callable[[int, int], None]

# One ranged request of an object store: large beside its latency, small in memory.
BLOCK_BYTES = 16 * 2**20

# What link() answers where it cannot: another device, or a filesystem without hard links.
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
# What object stores answer to a conditional PUT that comes second, or at the same moment.
_TAKEN = {409, 412}

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}

_memory_lock = threading.Lock()  # MemoryFileSystem looks and then writes; not atomic by itself


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a filesystem tells about a file without reading it; equal stamps mean equal content."""

    size_bytes: int
    mark: str
    """Local: mtime in ns and inode. Object store: ETag. Memory: time of creation. Else maybe ""."""


def open_filesystem(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the fsspec filesystem of a URL or local path, and the path inside it.

    Listings are not cached: other processes write to the same place.
    """
    filesystem, path = fsspec.core.url_to_fs(url, use_listings_cache=False, **options)
    if isinstance(filesystem, LocalFileSystem):
        path = str(Path(path).absolute())
    return filesystem, path.rstrip("/")


def local_path(fs: Any, path: str) -> Path | None:
    """Return the path on this machine's disk, or None where the file has to be fetched."""
    return Path(path) if isinstance(fs, LocalFileSystem) else None


def full_url(fs: Any, path: str) -> str:
    """Return what any other reader opens the file by: a plain path if local, a URL if not."""
    return path if isinstance(fs, LocalFileSystem) else str(fs.unstrip_protocol(path))


@contextmanager
def disk_full_explained(place: str) -> Iterator[None]:
    """Turn "no space left" into a message that says where, and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        raise OSError(
            error.errno,
            f"no space left while writing under {place} ({error.strerror}); free space there or "
            "choose another place, and run again: what is finished is kept",
        ) from error


def read_bytes(fs: Any, path: str) -> bytes:
    """Return the whole content of a small file; FileNotFoundError if there is none."""
    return bytes(fs.cat_file(path))


def read_blocks(fs: Any, path: str) -> Iterator[bytes]:
    """Yield the content of a file of any size, block by block."""
    local = local_path(fs, path)
    if local is not None:
        with local.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block
        return
    size_bytes = int(fs.info(path)["size"])
    for start in range(0, size_bytes, BLOCK_BYTES):
        # Stateless ranges, as all readers of a file on memory:// share one position.
        yield bytes(fs.cat_file(path, start=start, end=min(start + BLOCK_BYTES, size_bytes)))


def hash_file(fs: Any, path: str, on_progress: OnProgress | None = None) -> tuple[str, int]:
    """Return the sha256 and the size of a file; progress is in bytes."""
    digest = hashlib.sha256()
    total = int(fs.info(path)["size"]) if on_progress else 0
    size_bytes = 0
    for block in read_blocks(fs, path):
        digest.update(block)
        size_bytes += len(block)
        if on_progress:
            on_progress(size_bytes, total)
    return digest.hexdigest(), size_bytes


def write_bytes(fs: Any, path: str, data: bytes) -> None:
    """Create or replace a small file in one step: readers see the old content or the new one."""
    local = local_path(fs, path)
    if local is None:
        fs.pipe_file(path, data)
        return
    temporary = _write_beside(local, data)
    temporary.replace(local)


def create_exclusive(fs: Any, path: str, data: bytes) -> bool:
    """Create a small file with all its content, or return False if there is one already.

    The content must be unique to the caller: a write that was repeated because its answer got lost
    counts as won when the file that is there holds exactly this.
    """
    try:
        _create(fs, path, data)
    except FileExistsError:
        return _holds(fs, path, data)
    return True


def _create(fs: Any, path: str, data: bytes) -> None:
    local = local_path(fs, path)
    if local is not None:
        _create_local(local, data)
    elif isinstance(fs, MemoryFileSystem):
        with _memory_lock:
            fs.pipe_file(path, data, mode="create")
    else:
        _create_remote(fs, path, data)


def _create_remote(fs: Any, path: str, data: bytes) -> None:
    try:
        fs.pipe_file(path, data, mode="create")  # a conditional PUT
    except OSError as error:
        # s3fs knows "it exists" in Amazon's words only; other servers' 412 comes as EINVAL.
        answer = getattr(error.__cause__, "response", None) or {}
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status in _TAKEN:
            raise FileExistsError(errno.EEXIST, "exists already", path) from error
        raise


def _create_local(path: Path, data: bytes) -> None:
    temporary = _write_beside(path, data)
    try:
        os.link(temporary, path)  # atomic, and fails where the name is taken
        _sync(path.parent)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        # No hard links here: exclusive still, but a crash within these two lines leaves a file
        # that does not parse, which is reported as damaged.
        with path.open("xb") as file:
            file.write(data)
    finally:
        temporary.unlink()


def _holds(fs: Any, path: str, data: bytes) -> bool:
    try:
        return read_bytes(fs, path) == data
    except FileNotFoundError:
        return False


def _write_beside(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def upload(fs: Any, source: Path, path: str, *, may_link: bool) -> None:
    """Bring a local file to a path that nobody else uses; its content is on disk after this.

    With `may_link` the source may become a second name of the same data, so that on one disk
    nothing is copied; it must not be written to any more.
    """
    local = local_path(fs, path)
    if local is None:
        fs.put_file(str(source), path)
        return
    local.parent.mkdir(parents=True, exist_ok=True)
    if not (may_link and _link(source, local)):
        _copy(source, local)
    _sync(local)
    local.chmod(0o444)  # immutable from here on, whatever its builder still does


def copy_within(fs: Any, names: Mapping[str, str]) -> None:
    """Give stored files second names (new by old); all are on disk after this.

    A hard link if local, a server-side copy if not.
    """
    folders = set()
    for source, path in names.items():
        local = local_path(fs, path)
        if local is None:
            fs.cp_file(source, path)
            continue
        local.parent.mkdir(parents=True, exist_ok=True)
        folders.add(local.parent)
        if not _link(Path(source), local):
            _copy(Path(source), local)
            _sync(local)
            local.chmod(0o444)
    for folder in sorted(folders):  # once each: a sync takes milliseconds, a link microseconds
        _sync(folder)
        _sync(folder.parent)


def _copy(source: Path, path: Path) -> None:
    try:
        shutil.copyfile(source, path)
    except BaseException:
        path.unlink(missing_ok=True)  # on a full disk the torso would fill it further
        raise


def _link(source: Path, path: Path) -> bool:
    try:
        os.link(source, path)
    except OSError as error:
        if error.errno in _NO_LINK:
            return False
        raise
    return True


def exists(fs: Any, path: str) -> bool:
    """Tell whether there is a file or a folder of this name."""
    return bool(fs.exists(path))


def stamp(fs: Any, path: str) -> Stamp:
    """Return the stamp of a file; FileNotFoundError if there is none, or it is a folder."""
    info = fs.info(path)
    if info["type"] != "file":
        raise FileNotFoundError(errno.ENOENT, "not a file", full_url(fs, path))
    return _stamp_from_info(fs, info)


def stamps_below(fs: Any, folder: str) -> dict[str, Stamp]:
    """Return the stamps of all files below a folder by their names relative to it."""
    try:
        found = fs.find(folder, detail=True)
    except FileNotFoundError:
        return {}
    prefix = folder + "/"
    return {
        path.removeprefix(prefix): _stamp_from_info(fs, info)
        for path, info in found.items()
        if path.startswith(prefix)
    }


def _stamp_from_info(fs: Any, info: Mapping[str, Any]) -> Stamp:
    if isinstance(fs, LocalFileSystem):
        status = Path(info["name"]).stat()  # fsspec's mtime is a float, too coarse for ns
        return Stamp(status.st_size, f"{status.st_mtime_ns}:{status.st_ino}")
    if info["size"] is None:
        raise ValueError(f"{info['name']} does not tell its size; fetch it to a local file first")
    keys = ("ETag", "etag", "md5Hash", "created", "LastModified", "Last-Modified", "mtime")
    mark = next((_mark(info[key]) for key in keys if info.get(key)), "")
    return Stamp(int(info["size"]), mark)


def _mark(value: object) -> str:
    # memory:// gives its time of creation as a datetime in info() and as a number in find().
    timestamp = getattr(value, "timestamp", None)
    return str(timestamp() if timestamp else value)


def names_in(fs: Any, folder: str) -> list[str]:
    """Return the names of the files and folders directly in a folder, sorted; none if absent."""
    try:
        found = fs.ls(folder, detail=False)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted({str(path).rstrip("/").rsplit("/", 1)[-1] for path in found})


def move(fs: Any, source: str, destination: str) -> None:
    """Move a file or a folder with all below it; a rename if local, file by file if not."""
    local = local_path(fs, destination)
    if local is not None:
        local.parent.mkdir(parents=True, exist_ok=True)
        Path(source).rename(local)
        return
    for path in fs.find(source):
        fs.cp_file(path, destination + path.removeprefix(source))
        fs.rm_file(path)


def remove(fs: Any, path: str) -> None:
    """Remove a file if it is there."""
    with suppress(FileNotFoundError):
        fs.rm_file(path)


def remove_below(fs: Any, folder: str) -> None:
    """Remove a folder with all below it if it is there."""
    local = local_path(fs, folder)
    if local is not None:
        shutil.rmtree(local, ignore_errors=True)
        return
    for path in fs.find(folder):
        remove(fs, path)
