"""Content hashes of source files, remembered as long as the filesystem says they did not change."""

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts import filesystem
from artifacts.filesystem import OnProgress
from artifacts.stamps import Stamp, find_stamp, hash_file, stamp_of

# A file that changes twice within its filesystem's clock tick keeps its mtime, so what is younger
# than the coarsest tick in use (2 s, FAT) is not remembered; git calls such entries "racy".
_RACY_S = 2.0


@dataclass(frozen=True, slots=True)
class ContentHash:
    """The content of a file, in brief."""

    sha256: str
    size_bytes: int


def content_hash(
    uri: str | Path, *, memo_dir: Path | None, on_progress: OnProgress | None = None
) -> ContentHash:
    """Return the sha256 and size of a local file or any fsspec URL.

    Args:
        uri: The file.
        memo_dir: Folder of remembered hashes, by path, size, mtime in ns and inode of a local
            file, by size and ETag of a remote one; None hashes always.
        on_progress: Called with bytes done and in all, while hashing.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file changed while it was read.
    """
    fs, path = filesystem.open_filesystem(str(uri), {})
    try:
        before = stamp_of(fs, path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no file {uri}; give the path or URL of one") from error
    memo = memo_dir / _memo_name(filesystem.full_url(fs, path)) if memo_dir else None
    known = _recall(memo, before) if memo else None
    if known is not None:
        return known
    hashed_at = time.time()
    sha256, size_bytes = hash_file(fs, path, on_progress)
    if stamp_of(fs, path) != before or size_bytes != before.size_bytes:
        raise ValueError(f"{uri} changed while it was read; run again when its writer is done")
    content = ContentHash(sha256, size_bytes)
    if memo and not _is_racy(fs, before, hashed_at):
        _remember(memo, before, content)
    return content


def recall(uri: str | Path, *, memo_dir: Path) -> ContentHash | None:
    """Return the remembered hash of a file that has not changed since, without reading it."""
    fs, path = filesystem.open_filesystem(str(uri), {})
    now = find_stamp(fs, path)
    return _recall(memo_dir / _memo_name(filesystem.full_url(fs, path)), now) if now else None


def remember(uri: str | Path, content: ContentHash, memo_dir: Path) -> None:
    """Note the hash of a file that the caller has just written, so that nobody hashes it again."""
    fs, path = filesystem.open_filesystem(str(uri), {})
    memo = memo_dir / _memo_name(filesystem.full_url(fs, path))
    _remember(memo, stamp_of(fs, path), content)


def _memo_name(url: str) -> str:
    return f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"


def _recall(memo: Path, stamp: Stamp) -> ContentHash | None:
    try:
        data = json.loads(memo.read_bytes())
        # A server that tells neither version nor date cannot vouch for its file.
        if stamp.mark and (data["mark"], data["size_bytes"]) == (stamp.mark, stamp.size_bytes):
            return ContentHash(data["sha256"], data["size_bytes"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass  # a memo that is missing or damaged is made anew
    return None


def _is_racy(fs: Any, stamp: Stamp, hashed_at: float) -> bool:
    if filesystem.local_path(fs, "") is None:
        return False
    mtime_ns = int(stamp.mark.partition(":")[0])
    return hashed_at - mtime_ns / 1e9 < _RACY_S


def _remember(memo: Path, stamp: Stamp, content: ContentHash) -> None:
    data = {"mark": stamp.mark, "size_bytes": stamp.size_bytes, "sha256": content.sha256}
    fs, path = filesystem.open_filesystem(str(memo), {})
    filesystem.write_bytes(fs, path, json.dumps(data).encode())
