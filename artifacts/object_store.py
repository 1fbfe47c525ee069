"""Writing to a store behind a network, where an answer may get lost, and a write, too.

So the answer decides nothing. After each write this looks at what is there, and writes again where
it is not there. Whoever else wants the same name is told from this writer by the content.
"""

import errno
import threading
from contextlib import suppress
from pathlib import Path

from fsspec import AbstractFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from artifacts.patience import PatientFilesystem, try_again

_TAKEN = {409, 412}
"""What object stores answer to a conditional PUT that comes second, or at the same moment."""

_memory_lock = threading.Lock()
"""MemoryFileSystem looks and then writes, which is not atomic by itself."""


def write(fs: AbstractFileSystem, path: str, data: bytes) -> None:
    """Create or replace a small file."""

    def put() -> None:
        fs.pipe_file(path, data)
        _require(_content(fs, path) == data, path)

    try_again(put)


def create(fs: AbstractFileSystem, path: str, data: bytes) -> bool:
    """Create a small file whose content is unique to the caller; return False if another is there.

    Where somebody removes the file at once, it is created again: nobody may remove what still
    counts.
    """

    def put() -> bool:
        with suppress(FileExistsError):  # perhaps by its own request, whose answer got lost
            _put_new(fs, path, data)
        found = _content(fs, path)
        is_cut_off = found is None or (found != data and data.startswith(found))
        _require(not is_cut_off, path)
        return found == data

    return try_again(put)


def _put_new(fs: AbstractFileSystem, path: str, data: bytes) -> None:
    if isinstance(fs.impatient if isinstance(fs, PatientFilesystem) else fs, MemoryFileSystem):
        with _memory_lock:
            fs.pipe_file(path, data, mode="create")
        return
    try:
        fs.pipe_file(path, data, mode="create")  # a conditional PUT
    except FileExistsError:
        raise
    except OSError as error:
        # s3fs understands only Amazon's error names; the 412 of other servers comes as EINVAL.
        answer = getattr(error.__cause__, "response", None) or {}
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status in _TAKEN:
            raise FileExistsError(errno.EEXIST, "exists already", path) from error
        raise


def upload(fs: AbstractFileSystem, source: Path, path: str) -> None:
    """Bring a local file to a path that nobody else uses."""

    def put() -> None:
        fs.put_file(str(source), path)
        _require(_size(fs, path) == source.stat().st_size, path)

    try_again(put)


def copy(fs: AbstractFileSystem, source: str, path: str) -> None:
    """Give a stored file a second name that nobody else uses."""

    def put() -> None:
        fs.cp_file(source, path)
        _require(fs.exists(path), path)

    try_again(put)


def move(fs: AbstractFileSystem, source: str, path: str) -> None:
    """Give a stored file another name that nobody else uses; FileNotFoundError if it is gone."""
    copy(fs, source, path)

    def remove() -> None:
        with suppress(FileNotFoundError):
            fs.rm_file(source)
        _require(not fs.exists(source), source)

    try_again(remove)


def _content(fs: AbstractFileSystem, path: str) -> bytes | None:
    try:
        return bytes(fs.cat_file(path))
    except FileNotFoundError:
        return None


def _size(fs: AbstractFileSystem, path: str) -> int | None:
    try:
        return int(fs.info(path)["size"])
    except FileNotFoundError:
        return None


def _require(is_done: bool, path: str) -> None:
    if not is_done:
        raise OSError(errno.EIO, "the store said yes and did not do it", path)
