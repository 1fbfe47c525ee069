"""Fetch: a file from the network to the local disk, whole and checked or not at all.

What arrives is appended to `<name>.part`, so that a cut connection, or a later run, goes on where
it stopped. Only a file of the right size and hash gets the destination's name. Nothing is deleted
that was good: what turns out wrong is moved aside.
"""

import errno
import logging
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from artifacts import filesystem
from artifacts.content_hash import ContentHash, stamp_of
from artifacts.fetching.http_range import (
    Answer,
    FetchError,
    RangeRefusedError,
    open_range,
    redacted,
)
from artifacts.fetching.part_file import Part, Pin, locked_part, move_aside, put_in_place
from artifacts.filesystem import OnProgress

__all__ = ["FetchError", "FetchResult", "fetch", "wait_before_retry_s"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FetchResult:
    """The fetched file, in brief."""

    sha256: str
    size_bytes: int
    was_there: bool
    """Nothing was transferred: the destination held the right file already."""


def wait_before_retry_s(failures: int) -> float:
    """Return seconds to wait after so many failures in a row: 1, 2, 4 ... 60, less up to half.

    The random half keeps many clients from coming back at the same moment.
    """
    return float(min(60, 2 ** (failures - 1)) * random.uniform(0.5, 1.0))


def fetch(
    url: str,
    destination: Path,
    *,
    sha256: str | None = None,
    size_bytes: int | None = None,
    on_progress: OnProgress | None = None,
    attempts: int = 5,
    timeout_s: float = 60.0,
    retry_wait_s: Callable[[int], float] = wait_before_retry_s,
) -> FetchResult:
    """Bring a file from http(s) or any fsspec URL to a local path.

    A destination that already has the given hash (or size, if no hash is given) is left alone.

    Args:
        url: May carry `user:password@`, which no message repeats.
        destination: Where the file goes; its folder is created.
        sha256: Expected hash, 64 hex digits.
        size_bytes: Expected size; a server that announces another one is refused at once.
        on_progress: Called with bytes done and in all (0 if unknown).
        attempts: Failures in a row, without a byte of progress, after which it gives up.
        timeout_s: Silence of the server that counts as a failure.
        retry_wait_s: Seconds to wait after the n-th failure in a row.

    Raises:
        FetchError: The network kept failing; what arrived is kept for the next call.
        FileNotFoundError: The server has no such file.
        PermissionError: The server refuses.
        ValueError: What arrived has another size or hash; it lies beside the destination.
        OSError: No space is left.
    """
    if attempts < 1:
        raise ValueError(f"attempts ({attempts}) must be 1 or more")
    pin = Pin(sha256, size_bytes)
    present = pin.content_of(destination)
    if present is not None:
        return FetchResult(present.sha256, present.size_bytes, was_there=True)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with filesystem.disk_full_explained(str(destination.parent)), locked_part(destination) as part:
        present = pin.content_of(destination)  # another process may have brought it meanwhile
        if present is not None:
            part.path.unlink()
            return FetchResult(present.sha256, present.size_bytes, was_there=True)
        source = _Source(url, pin, timeout_s, on_progress)
        content = _fetch_checked(source, part, attempts, retry_wait_s)
        put_in_place(part, destination)
    return FetchResult(content.sha256, content.size_bytes, was_there=False)


@dataclass(frozen=True, slots=True)
class _Source:
    url: str
    pin: Pin
    timeout_s: float
    on_progress: OnProgress | None


def _fetch_checked(
    source: _Source, part: Part, attempts: int, retry_wait_s: Callable[[int], float]
) -> ContentHash:
    """Transfer until the content is right; a part of an earlier run gets a second chance."""
    resumed = part.size_bytes > 0
    _transfer(source, part, attempts, retry_wait_s)
    problem = source.pin.problem(part.content())
    if problem and (resumed or part.joined):
        logger.info("%s was joined from pieces that do not fit, starting again", part.path)
        part.restart()
        _transfer(source, part, attempts, retry_wait_s)
        problem = source.pin.problem(part.content())
    if problem:
        aside = move_aside(part.path, part.content())
        part.note_path.unlink(missing_ok=True)
        raise ValueError(
            f"{redacted(source.url)} is not the expected file, {problem}. It lies at {aside}; "
            "correct the address or the expected values"
        )
    return part.content()


def _transfer(
    source: _Source, part: Part, attempts: int, retry_wait_s: Callable[[int], float]
) -> None:
    """Receive until the end, in as many connections as it takes."""
    failures = 0
    while True:
        before = part.farthest
        try:
            return _receive(source, part)
        except FetchError as error:
            failures = 1 if part.farthest > before else failures + 1
            if isinstance(error, RangeRefusedError):
                part.restart()
            if failures >= attempts:
                raise FetchError(
                    f"{error} (gave up after {failures} failures in a row); what arrived is kept "
                    f"in {part.path}, run again to go on from there"
                ) from error
            wait_s = max(retry_wait_s(failures), error.retry_after_s)
            logger.info("%s; attempt %d follows in %.1f s", error, failures + 1, wait_s)
            time.sleep(wait_s)


def _receive(source: _Source, part: Part) -> None:
    """Receive what is missing over one connection.

    A known hash tells in the end whether the pieces fit. Without it every piece must come from the
    version that the first one came from, and where the server names no version, all from one.
    """
    version = "" if source.pin.sha256 else part.validator
    if part.size_bytes and not (version or source.pin.sha256):
        part.restart()
    if part.size_bytes and part.size_bytes in (part.total_bytes, source.pin.size_bytes):
        return
    with _open_source(source, part.size_bytes, version) as answer:
        if answer.start != part.size_bytes or (version and answer.validator != version):
            _restart_for(answer, part, redacted(source.url))
        part.joined = part.joined or part.size_bytes > 0
        _check_total(source, answer.total_bytes, part)
        part.describe(answer.validator, answer.total_bytes)
        for block in answer.blocks:
            part.append(block)
            if source.on_progress:
                source.on_progress(part.size_bytes, answer.total_bytes or 0)


def _restart_for(answer: Answer, part: Part, shown: str) -> None:
    """Drop a part that the answer does not continue."""
    part.restart()
    if answer.start != 0:
        raise FetchError(f"{shown} has changed since the last connection; starting again")


def _check_total(source: _Source, total_bytes: int | None, part: Part) -> None:
    expected = source.pin.size_bytes
    if total_bytes is None:
        return
    if expected not in (None, total_bytes):
        raise ValueError(
            f"{redacted(source.url)} has {total_bytes:,} bytes, expected {expected:,}; "
            "correct the address or the expected size"
        )
    missing = total_bytes - part.size_bytes
    free = shutil.disk_usage(part.path.parent).free
    if missing > free:
        raise OSError(errno.ENOSPC, f"{missing:,} bytes are to come, only {free:,} are free")


@contextmanager
def _open_source(source: _Source, start: int, version: str) -> Iterator[Answer]:
    url, timeout_s = source.url, source.timeout_s
    if urlsplit(url).scheme in ("http", "https"):
        with open_range(url, start=start, validator=version, timeout_s=timeout_s) as answer:
            yield answer
        return
    fs, path = filesystem.open_filesystem(source.url)
    try:
        total_bytes = stamp_of(fs, path).size_bytes
        yield Answer(0, total_bytes, "", filesystem.read_blocks(fs, path))
    except (ConnectionError, TimeoutError) as error:
        raise FetchError(f"{redacted(source.url)} cannot be read: {error}") from error
