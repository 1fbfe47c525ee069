"""Has a file changed? The cheap answer is its stamp, the sure answer is its hash.

Hashes of files outside the store are remembered for as long as the stamps stay the same.
"""

import errno
import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from artifacts import filesystem
from artifacts.filesystem import Filesystem

T = TypeVar("T")

_RACY_S = 2.0
"""A file that changes twice within one tick of its filesystem's clock keeps its mtime. So a file
younger than the coarsest tick in use (2 s, FAT) is not remembered. Git calls such files "racy"."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a filesystem says of a file without reading it. Equal stamps mean equal content."""

    size_bytes: int
    mark: str
    """Local: mtime in ns and inode. Object store: ETag. Memory: time of creation. May be empty."""


@dataclass(frozen=True, slots=True)
class ContentHash:
    """Hash and size of a file's content."""

    sha256: str
    size_bytes: int


def stamp_of(fs: Filesystem, path: str) -> Stamp:
    """Return the stamp of a file; FileNotFoundError if there is none, or it is a folder."""
    info = fs.info(path)
    if info["type"] != "file":
        raise FileNotFoundError(errno.ENOENT, "not a file", filesystem.full_url(fs, path))
    return _stamp_from_info(fs, info)


def stamp_of_local(path: Path) -> Stamp:
    """Return the stamp of a file on this machine's disk."""
    status = path.stat()
    return Stamp(status.st_size, f"{status.st_mtime_ns}:{status.st_ino}")


def find_stamp(fs: Filesystem, path: str) -> Stamp | None:
    """Return the stamp of a file, or None if there is none."""
    try:
        return stamp_of(fs, path)
    except FileNotFoundError:
        return None


def stamps_below(fs: Filesystem, folder: str) -> dict[str, Stamp]:
    """Return the stamps of all files below a folder by their names relative to it.

    Links are left out: what is behind them is not part of the folder.
    """
    try:
        found = fs.find(folder, detail=True)
    except FileNotFoundError:
        return {}
    prefix = folder + "/"
    below = {path: info for path, info in found.items() if path.startswith(prefix)}
    if filesystem.local_path(fs, folder) is not None:
        below = _without_links(folder, below)
    return {path.removeprefix(prefix): _stamp_from_info(fs, info) for path, info in below.items()}


def _without_links(folder: str, found: Mapping[str, T]) -> dict[str, T]:
    """Leave out local names that are links, or below a folder that is one."""
    root = os.path.realpath(folder)
    parents = {path.rpartition("/")[0] for path in found}
    real = {
        parent for parent in parents if os.path.realpath(parent) == root + parent[len(folder) :]
    }
    return {
        path: info
        for path, info in found.items()
        if path.rpartition("/")[0] in real and not Path(path).is_symlink()
    }


def _stamp_from_info(fs: Filesystem, info: Mapping[str, Any]) -> Stamp:
    local = filesystem.local_path(fs, info["name"])
    if local is not None:
        return stamp_of_local(local)  # fsspec's mtime is a float, too coarse for ns
    if info["size"] is None:
        raise ValueError(f"{info['name']} has no known size; fetch it to a local file first")
    keys = ("ETag", "etag", "md5Hash", "created", "LastModified", "Last-Modified", "mtime")
    mark = next((_mark(info[key]) for key in keys if info.get(key)), "")
    return Stamp(int(info["size"]), mark)


def _mark(value: object) -> str:
    # memory:// gives its time of creation as a datetime in info() and as a number in find().
    timestamp = getattr(value, "timestamp", None)
    return str(timestamp() if timestamp else value)


def hash_file(fs: Filesystem, path: str) -> ContentHash:
    """Read a file and return its hash and size."""
    digest = hashlib.sha256()
    size_bytes = 0
    for block in filesystem.read_blocks(fs, path):
        digest.update(block)
        size_bytes += len(block)
    return ContentHash(digest.hexdigest(), size_bytes)


def content_hash(uri: str | Path, *, memo_dir: Path | None) -> ContentHash:
    """Return the sha256 and size of a local file or any fsspec URL.

    Args:
        uri: The file.
        memo_dir: Folder of remembered hashes. A local file is known by its path, size, mtime in ns
            and inode, a remote one by its URL, size and ETag. With None the file is always read.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file changed while it was read.
    """
    fs, path = filesystem.open_filesystem(uri)
    try:
        before = stamp_of(fs, path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no file {uri}; give the path or URL of one") from error
    memo = memo_dir / _memo_name(filesystem.full_url(fs, path)) if memo_dir else None
    known = _recall(memo, before) if memo else None
    if known is not None:
        return known
    hashed_at = time.time()
    content = hash_file(fs, path)
    if stamp_of(fs, path) != before or content.size_bytes != before.size_bytes:
        raise ValueError(f"{uri} changed while it was read; run again when its writer is done")
    if memo and not _is_racy(fs, before, hashed_at):
        _remember(memo, before, content)
    return content


def recall(uri: str | Path, *, memo_dir: Path) -> ContentHash | None:
    """Return the remembered hash of a file that has not changed since, without reading it."""
    fs, path = filesystem.open_filesystem(uri)
    now = find_stamp(fs, path)
    return _recall(memo_dir / _memo_name(filesystem.full_url(fs, path)), now) if now else None


def remember(uri: str | Path, content: ContentHash, memo_dir: Path) -> None:
    """Remember the hash of a file that the caller has just written, so that it is read no more."""
    fs, path = filesystem.open_filesystem(uri)
    memo = memo_dir / _memo_name(filesystem.full_url(fs, path))
    _remember(memo, stamp_of(fs, path), content)


def forget(uri: str | Path, memo_dir: Path) -> None:
    """Forget the hash of a file, so that it is read the next time."""
    fs, path = filesystem.open_filesystem(uri)
    (memo_dir / _memo_name(filesystem.full_url(fs, path))).unlink(missing_ok=True)


def _memo_name(url: str) -> str:
    return f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"


def _recall(memo: Path, stamp: Stamp) -> ContentHash | None:
    try:
        data = json.loads(memo.read_bytes())
        # Without an ETag or a date nothing shows that the file is the same.
        if stamp.mark and (data["mark"], data["size_bytes"]) == (stamp.mark, stamp.size_bytes):
            return ContentHash(data["sha256"], data["size_bytes"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass  # a memo that is missing or damaged is made anew
    return None


def _is_racy(fs: Filesystem, stamp: Stamp, hashed_at: float) -> bool:
    if filesystem.local_path(fs, "") is None:
        return False
    mtime_ns = int(stamp.mark.partition(":")[0])
    return hashed_at - mtime_ns / 1e9 < _RACY_S


def _remember(memo: Path, stamp: Stamp, content: ContentHash) -> None:
    data = {"mark": stamp.mark, "size_bytes": stamp.size_bytes, "sha256": content.sha256}
    fs, path = filesystem.open_filesystem(memo)
    filesystem.write_bytes(fs, path, json.dumps(data).encode())
