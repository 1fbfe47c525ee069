"""A text's documents divided into two parts by a fixed rule on their content.

A document is held out when its hash, a 64-bit BLAKE2b of the text between the line ends, is a
multiple of `share`. So it falls to the same part wherever it is and whatever else the text holds,
and two equal documents are never on both sides. A text of too few documents, where one part would
be empty, is cut once, at the start of a line: its end is held out.
"""

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tokenizer.special_tokens import END_OF_TEXT
from tokenizer.text.documents import DocumentHasher, iter_pieces, iter_windows
from tokenizer.text.windows import ByteSource, open_source, read_bytes

_BLOCK_BYTES = 2**20
_LINE_BYTES = 2**16
"""How far the start of a line is looked for; a longer line is cut between two characters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What was written of a text."""

    num_documents: int
    """Documents of the part; 0 where the text was cut once."""

    num_all_documents: int
    """Documents of the whole text."""


def write_part(
    path: str | Path,
    destination: Path,
    *,
    held_out: bool,
    share: int,
    separator: str = END_OF_TEXT,
    on_progress: Callable[[int, int], None] | None = None,
) -> Part:
    """Write one part of a text, in the text's own layout; the other part has the rest.

    Args:
        path: A local path or an fsspec URL.
        destination: The file to write.
        held_out: Whether the smaller part is written, or the larger one.
        share: One document in so many is held out.
        separator: The text between two documents.
        on_progress: Called with (bytes looked through, bytes in all).

    Raises:
        ValueError: The text is empty, or too short to be divided.
    """
    spans, hashes = _documents(path, separator, on_progress)
    is_held_out = hashes % np.uint64(share) == 0
    mark = separator.encode("utf-8")
    with open_source(path) as source, destination.open("wb") as output:
        if is_held_out.any() and not is_held_out.all():
            chosen = spans[is_held_out == held_out]
            for number, (start, stop) in enumerate(chosen.tolist()):
                output.write(mark if number else b"")
                _copy(source, start, stop, output)
            return Part(num_documents=len(chosen), num_all_documents=len(spans))
        cut = _line_start(source, source.size_bytes - source.size_bytes // share)
        start, stop = (cut, source.size_bytes) if held_out else (0, cut)
        if stop == start:
            raise ValueError(
                f"{path} ({source.size_bytes} bytes) is too short to hold out 1 part in {share}"
            )
        _copy(source, start, stop, output)
    return Part(num_documents=0, num_all_documents=len(spans))


def _documents(
    path: str | Path, separator: str, on_progress: Callable[[int, int], None] | None
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return (start, stop) and hash of each document, in the order of the text."""
    hasher, spans = DocumentHasher(), array("q")
    mark_bytes = len(separator.encode("utf-8"))
    start = position = num_documents = 0
    for piece, is_end in iter_pieces(iter_windows(path, on_progress), separator):
        hasher.update(piece, is_end=is_end)
        position += len(piece)
        if is_end:
            if hasher.num_documents > num_documents:
                spans.extend((start, position))
                num_documents = hasher.num_documents
            position += mark_bytes
            start = position
    return np.frombuffer(spans, dtype=np.int64).reshape(-1, 2), hasher.hashes()


def _line_start(source: ByteSource, place: int) -> int:
    """Return the start of the first line after `place`; of a character, where no line is near."""
    data = read_bytes(source, place, place + _LINE_BYTES)
    found = data.find(b"\n")
    if 0 <= found < len(data) - 1:
        return place + found + 1
    return place + next((at for at, byte in enumerate(data) if byte & 0xC0 != 0x80), 0)


def _copy(source: ByteSource, start: int, stop: int, output: BinaryIO) -> None:
    for block_start in range(start, stop, _BLOCK_BYTES):
        output.write(read_bytes(source, block_start, min(stop, block_start + _BLOCK_BYTES)))
