"""Stamps and hashes: has a file changed, asked the cheap way and the sure way."""

import errno
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts.filesystem import OnProgress, full_url, local_path, read_blocks


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a filesystem tells about a file without reading it; equal stamps mean equal content."""

    size_bytes: int
    mark: str
    """Local: mtime in ns and inode. Object store: ETag. Memory: time of creation. Else maybe ""."""


def stamp_of(fs: Any, path: str) -> Stamp:
    """Return the stamp of a file; FileNotFoundError if there is none, or it is a folder."""
    info = fs.info(path)
    if info["type"] != "file":
        raise FileNotFoundError(errno.ENOENT, "not a file", full_url(fs, path))
    return _stamp_from_info(fs, info)


def stamp_of_local(path: Path) -> Stamp:
    """Return the stamp of a file on this machine's disk."""
    status = path.stat()
    return Stamp(status.st_size, f"{status.st_mtime_ns}:{status.st_ino}")


def find_stamp(fs: Any, path: str) -> Stamp | None:
    """Return the stamp of a file, or None if there is none."""
    try:
        return stamp_of(fs, path)
    except FileNotFoundError:
        return None


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
    local = local_path(fs, info["name"])
    if local is not None:
        return stamp_of_local(local)  # fsspec's mtime is a float, too coarse for ns
    if info["size"] is None:
        raise ValueError(f"{info['name']} does not tell its size; fetch it to a local file first")
    keys = ("ETag", "etag", "md5Hash", "created", "LastModified", "Last-Modified", "mtime")
    mark = next((_mark(info[key]) for key in keys if info.get(key)), "")
    return Stamp(int(info["size"]), mark)


def _mark(value: object) -> str:
    # memory:// gives its time of creation as a datetime in info() and as a number in find().
    timestamp = getattr(value, "timestamp", None)
    return str(timestamp() if timestamp else value)


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
