"""Reading a text, a local file or any fsspec URL: byte ranges, and windows that end at safe cuts.

Windows are read into one buffer that is used again, because a memory map that was read through
would count as resident memory.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenizer.text.cuts import CutRule, last_cut

PADDING_BYTES = 66
"""Bytes after a window that kernels may read, and ignore: a block of 64, and two that end it."""

WINDOW_BYTES = 2**20
"""With starts, ids and buffers some 10 MB a thread; a larger window was not faster."""


@dataclass(frozen=True)
class ByteSource:
    """An open text whose bytes can be read at any place by several threads at once."""

    path: str
    size_bytes: int

    descriptor: int
    """The file descriptor of a local file; -1 for a remote one."""

    filesystem: Any
    """An fsspec file system for a remote file, None for a local one. (fsspec has no types.)"""


@contextmanager
def open_source(path: str | Path) -> Iterator[ByteSource]:
    """Open a local file or an fsspec URL for reading at any place; close it at the end."""
    text = str(path)
    if "://" in text and not text.startswith("file://"):
        # Only remote texts need fsspec, whose import takes a tenth of a second.
        import fsspec

        filesystem, remote_path = fsspec.core.url_to_fs(text)
        yield ByteSource(remote_path, int(filesystem.size(remote_path)), -1, filesystem)
        return
    descriptor = os.open(text.removeprefix("file://"), os.O_RDONLY)
    try:
        yield ByteSource(text, os.fstat(descriptor).st_size, descriptor, None)
    finally:
        os.close(descriptor)


def range_end(source: ByteSource, start: int, stop: int | None) -> int:
    """Return the end of the range [start, stop) of the text; `stop` None means the text's end.

    Raises:
        ValueError: The range is not inside the text.
    """
    end = source.size_bytes if stop is None else stop
    if not 0 <= start <= end <= source.size_bytes:
        raise ValueError(
            f"bytes {start} to {end} do not lie in {source.path}, "
            f"which has {source.size_bytes} bytes"
        )
    return end


def read_bytes(source: ByteSource, start: int, stop: int) -> bytes:
    """Read bytes [start, stop) of the text, fewer where the text ends."""
    buffer = bytearray(max(0, min(stop, source.size_bytes) - start))
    read_into(source, start, memoryview(buffer))
    return bytes(buffer)


def read_into(source: ByteSource, start: int, target: memoryview) -> None:
    """Fill `target` with the bytes that begin at `start`.

    Raises:
        OSError: The text is shorter now than when it was opened.
    """
    filled = 0
    while filled < len(target):
        if source.filesystem is None:
            count = os.preadv(source.descriptor, [target[filled:]], start + filled)
        else:
            stop = start + len(target)
            piece = source.filesystem.cat_file(source.path, start=start + filled, end=stop)
            count = len(piece)
            target[filled : filled + count] = piece
        if count == 0:
            raise OSError(
                f"{source.path} ends at byte {start + filled}, before its size when it was opened "
                f"({source.size_bytes}); do not change a text while it is read"
            )
        filled += count


def iter_windows(
    source: ByteSource, start: int, stop: int, rule: CutRule
) -> Iterator[tuple[NDArray[np.uint8], int]]:
    """Yield (buffer, length) for windows of [start, stop) that end at safe cuts.

    Each window begins at a safe cut, so the search for its end needs no text before it. The buffer
    has at least `PADDING_BYTES` readable bytes after the window's `length`, and is used
    again for the next window. Where the text has no cut, the window grows.
    """
    buffer = bytearray(WINDOW_BYTES + PADDING_BYTES)
    filled = 0
    position = start
    searched = 0
    while position < stop or filled > 0:
        capacity = len(buffer) - PADDING_BYTES
        count = min(capacity - filled, stop - position)
        with memoryview(buffer) as view:
            read_into(source, position, view[filled : filled + count])
        position += count
        filled += count
        length = filled
        if position < stop:
            end = filled - max(rule.max_special_bytes, 1)
            cut = last_cut(buffer, searched, end, rule)
            if cut is None:
                # One long pretoken, or a whole document of a regex of the user's: a larger window.
                searched = max(0, end - rule.max_special_bytes)
                buffer = buffer + bytearray(capacity)
                continue
            length = cut
        yield np.frombuffer(buffer, dtype=np.uint8), length
        buffer[: filled - length] = buffer[length:filled]
        filled -= length
        searched = 0
