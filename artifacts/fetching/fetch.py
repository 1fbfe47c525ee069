"""Fetch: a file from the network to the local disk, whole and checked or not at all.

What arrives is appended to `<name>.part`, so that the next connection, or a later run, resumes
where the last one ended. Only a file of the right size and hash gets the destination's name. No
good file is deleted, and a wrong one is moved aside.
"""

import errno
import logging
import random
import shutil
import time
from collections.abc import Iterator
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
    UnreachableError,
    open_range,
    redacted,
)
from artifacts.fetching.part_file import Part, Pin, locked_part, move_aside, put_in_place
from artifacts.filesystem import OnProgress

__all__ = ["FetchError", "FetchResult", "UnreachableError", "fetch"]

logger = logging.getLogger(__name__)

ATTEMPTS = 5
"""Failures in a row, without a byte of progress, after which a fetch gives up."""

UNREACHED_ATTEMPTS = 2
"""The same where nothing has ever arrived and nobody answers: most often there is no network."""

TIMEOUT_S = 60.0
"""Silence of a server that counts as a failure."""

_LONGEST_WAIT_S = 60
"""The longest time between two attempts."""


@dataclass(frozen=True, slots=True)
class FetchResult:
    """Hash and size of the fetched file."""

    sha256: str
    size_bytes: int
    was_there: bool
    """The destination was the right file already, and nothing was transferred."""


def fetch(
    url: str,
    destination: Path,
    *,
    sha256: str | None = None,
    size_bytes: int | None = None,
    on_progress: OnProgress | None = None,
) -> FetchResult:
    """Bring a file from http(s) or any fsspec URL to a local path.

    A destination that already has the given hash (or size, if no hash is given) is left alone.

    Args:
        url: May carry `user:password@`, which no message repeats.
        destination: Where the file goes; its folder is created.
        sha256: Expected hash, 64 hex digits.
        size_bytes: Expected size; a server that announces another one is refused at once.
        on_progress: Called with bytes done and in all (0 if unknown).

    Raises:
        FetchError: The network kept failing; what arrived is kept for the next call.
        UnreachableError: Nobody answered, and nothing has arrived.
        FileNotFoundError: The server has no such file.
        PermissionError: The server refuses.
        ValueError: What arrived has another size or hash; it is kept beside the destination.
        OSError: No space is left.
    """
    pin = Pin(sha256, size_bytes)
    present = pin.content_of(destination)
    if present is not None:
        return FetchResult(present.sha256, present.size_bytes, was_there=True)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with filesystem.storage_explained(str(destination.parent)), locked_part(destination) as part:
        present = pin.content_of(destination)  # another process may have brought it meanwhile
        if present is not None:
            part.path.unlink()
            return FetchResult(present.sha256, present.size_bytes, was_there=True)
        content = _fetch_checked(_Source(url, pin, on_progress), part)
        put_in_place(part, destination)
    return FetchResult(content.sha256, content.size_bytes, was_there=False)


@dataclass(frozen=True, slots=True)
class _Source:
    url: str
    pin: Pin
    on_progress: OnProgress | None


def _fetch_checked(source: _Source, part: Part) -> ContentHash:
    """Transfer the file and check it. If its pieces do not fit together, transfer it once more."""
    resumed = part.size_bytes > 0
    _transfer(source, part)
    problem = source.pin.problem(part.content())
    if problem and (resumed or part.joined):
        logger.info("%s was joined from pieces that do not fit, starting again", part.path)
        part.restart()
        _transfer(source, part)
        problem = source.pin.problem(part.content())
    if problem:
        aside = move_aside(part.path, part.content())
        part.note_path.unlink(missing_ok=True)
        raise ValueError(
            f"{redacted(source.url)} is not the expected file, {problem}. It is kept at {aside}; "
            "correct the address or the expected values"
        )
    return part.content()


def _transfer(source: _Source, part: Part) -> None:
    """Receive until the end, in as many connections as it takes."""
    failures = 0
    while True:
        before = part.farthest
        try:
            return _receive(source, part)
        except FetchError as error:
            failures = 1 if part.farthest > before else failures + 1
            nothing_came = isinstance(error, UnreachableError) and not part.farthest
            if nothing_came and failures >= UNREACHED_ATTEMPTS:
                raise
            if isinstance(error, RangeRefusedError):
                part.restart()
            if failures >= ATTEMPTS:
                raise FetchError(
                    f"{error} (gave up after {failures} failures in a row); what arrived is kept "
                    f"in {part.path}, run again to resume from there"
                ) from error
            wait_s = max(_wait_s(failures), error.retry_after_s)
            logger.info("%s; attempt %d follows in %.1f s", error, failures + 1, wait_s)
            time.sleep(wait_s)


def _wait_s(failures: int) -> float:
    """Return seconds to wait after so many failures in a row: 1, 2, 4 ... 60, less up to half.

    The random half keeps many clients from coming back at the same moment.
    """
    return float(min(_LONGEST_WAIT_S, 2 ** (failures - 1)) * random.uniform(0.5, 1.0))


def _receive(source: _Source, part: Part) -> None:
    """Receive what is missing over one connection.

    A known hash shows in the end whether the pieces fit. Without it, all pieces must come from the
    same version of the file. If the server names no version, they must come over one connection.
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
    url = source.url
    if urlsplit(url).scheme in ("http", "https"):
        with open_range(url, start=start, validator=version, timeout_s=TIMEOUT_S) as answer:
            yield answer
        return
    fs, path = filesystem.open_filesystem(url)
    try:
        total_bytes = stamp_of(fs, path).size_bytes
        yield Answer(0, total_bytes, "", filesystem.read_blocks(fs, path))
    except (ConnectionError, TimeoutError) as error:
        raise FetchError(f"{redacted(url)} cannot be read: {error}") from error
