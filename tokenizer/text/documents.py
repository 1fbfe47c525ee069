"""Documents of a corpus file: what one is, statistics in one pass, and a corpus file from Parquet.

A document is the text between two separators, without the line ends at either side, which belong to
the layout. A stretch of nothing but line ends is no document.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tokenizer.special_tokens import END_OF_TEXT
from tokenizer.text.corpus_statistics import InvalidUtf8Counter, LineEndCounter
from tokenizer.text.windows import open_source, read_bytes

if TYPE_CHECKING:
    import pyarrow as pa

_WINDOW_BYTES = 2**18
"""A window and what is decoded from it fit the second-level cache."""

LINE_ENDS = b"\r\n"
"""Bytes at either side of a document that belong to the layout."""

_HASH_BYTES = 8


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CorpusStatistics:
    """What is in a corpus file."""

    size_bytes: int
    """The file's size."""

    num_documents: int
    """Documents that hold more than line ends."""

    num_invalid_utf8_spans: int
    """Stretches of bytes that are not UTF-8, each as long as can be; the tokenizer keeps them."""

    num_cr: int
    """Carriage returns, those in CR LF included."""

    num_lf: int
    """Line feeds, those in CR LF included."""

    num_crlf: int
    """Line ends of two characters."""

    document_hashes: NDArray[np.uint64]
    """(num_documents,) 64-bit BLAKE2b of each document, ascending; repeats stay."""


def corpus_statistics(
    path: str | Path,
    *,
    separator: str = END_OF_TEXT,
    on_progress: Callable[[int, int], None] | None = None,
) -> CorpusStatistics:
    """Read a corpus once, in windows; memory grows by eight bytes a document only.

    Args:
        path: A local path or an fsspec URL.
        separator: The text between two documents.
        on_progress: Called with (bytes done, bytes in all).

    Raises:
        ValueError: The corpus is empty, or has no document.
    """
    line_ends, utf8, hasher = LineEndCounter(), InvalidUtf8Counter(), DocumentHasher()
    size_bytes = 0

    def counted_windows() -> Iterator[bytes]:
        nonlocal size_bytes
        for window in iter_windows(path, on_progress):
            size_bytes += len(window)
            line_ends.update(window)
            utf8.update(window)
            yield window

    for piece, is_end in iter_pieces(counted_windows(), separator):
        hasher.update(piece, is_end=is_end)
    utf8.finish()
    hashes = np.sort(hasher.hashes())
    if not len(hashes):
        raise ValueError(
            f"{path} ({size_bytes} bytes) holds no document, only separators and line ends"
        )
    return CorpusStatistics(
        size_bytes=size_bytes,
        num_documents=len(hashes),
        num_invalid_utf8_spans=utf8.num_spans,
        num_cr=line_ends.num_cr,
        num_lf=line_ends.num_lf,
        num_crlf=line_ends.num_crlf,
        document_hashes=hashes,
    )


def count_duplicates(hashes: NDArray[np.uint64], other_hashes: NDArray[np.uint64]) -> int:
    """Count the documents of `hashes` that are in `other_hashes` too; both are ascending."""
    if not len(other_hashes):
        return 0
    places = np.searchsorted(other_hashes, hashes)
    found = other_hashes[np.minimum(places, len(other_hashes) - 1)] == hashes
    return int(np.count_nonzero(found))


def write_text_from_parquet(
    source: str | Path,
    destination: Path,
    *,
    column: str = "text",
    separator: str = END_OF_TEXT,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write a Parquet text column as a corpus file and return how many documents it has.

    The layout is that of the public TinyStories files: the document, a line end, the separator, a
    line end. Rows without a value, or of nothing but line ends, are left out.

    Args:
        source: A local path or an fsspec URL.
        destination: The text file; it appears when it is complete.
        column: A column of strings or bytes.
        separator: The text between two documents.
        on_progress: Called with (rows done, rows in all).

    Raises:
        ValueError: There is no such column, it holds no text, no document is in it, or the file is
            no whole Parquet file.
    """
    # Only Parquet corpora need these two imports, which take a fifth of a second.
    import fsspec
    import pyarrow
    import pyarrow.parquet as pq

    ending = f"\n{separator}\n".encode()
    partial = destination.with_name(destination.name + ".part")
    num_documents = num_rows = 0
    try:
        with fsspec.open(str(source), "rb") as stream, partial.open("wb") as output:
            table = pq.ParquetFile(stream)
            _check_column(table.schema_arrow, column, source)
            for batch in table.iter_batches(columns=[column]):
                documents = list(_texts(batch.column(0).to_pylist()))
                output.writelines(document + ending for document in documents)
                num_documents += len(documents)
                num_rows += batch.num_rows
                if on_progress:
                    on_progress(num_rows, table.metadata.num_rows)
        if not num_documents:
            raise ValueError(f"column {column!r} of {source} holds no document")
        partial.replace(destination)
    except (OSError, pyarrow.ArrowException) as error:
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
            raise  # the storage's own
        # Arrow says in several lines, or by a bare OSError, that the content is damaged.
        reason = " ".join(str(error).split())
        raise ValueError(f"{source} is no whole Parquet file: {reason}") from error
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()
    return num_documents


def _texts(values: Iterable[str | bytes | None]) -> Iterator[bytes]:
    for value in values:
        data = value.encode("utf-8") if isinstance(value, str) else value
        if data and data.strip(LINE_ENDS):
            yield data


def _check_column(schema: "pa.Schema", column: str, source: str | Path) -> None:
    from pyarrow import types

    if column not in schema.names:
        raise ValueError(f"{source} has no column {column!r}; it has {', '.join(schema.names)}")
    kind = schema.field(column).type
    readable = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    if not any(is_kind(kind) for is_kind in readable):
        raise ValueError(f"column {column!r} of {source} must hold text or bytes, not {kind}")


def iter_windows(
    path: str | Path, on_progress: Callable[[int, int], None] | None = None
) -> Iterator[bytes]:
    """Yield a text in windows; `ValueError` when it is empty."""
    with open_source(path) as source:
        if not source.size_bytes:
            raise ValueError(f"{path} is empty; a corpus must hold at least one document")
        for start in range(0, source.size_bytes, _WINDOW_BYTES):
            stop = min(start + _WINDOW_BYTES, source.size_bytes)
            yield read_bytes(source, start, stop)
            if on_progress:
                on_progress(stop, source.size_bytes)


def iter_pieces(windows: Iterable[bytes], separator: str) -> Iterator[tuple[bytes, bool]]:
    """Yield (piece of a document, whether the document ends there), the separators left out."""
    if not separator:
        raise ValueError("the separator between documents is empty; the usual one is <|endoftext|>")
    mark = separator.encode("utf-8")
    rest = b""
    for window in windows:
        *complete, rest = (rest + window).split(mark)
        for piece in complete:
            yield piece, True
        # The end of the window may be the start of a separator.
        keep = max(0, len(rest) - len(mark) + 1)
        yield rest[:keep], False
        rest = rest[keep:]
    yield rest, True


class DocumentHasher:
    """Hash documents that come in pieces; line ends wait until more text follows."""

    def __init__(self) -> None:
        self._digests = bytearray()
        self._hash: hashlib.blake2b | None = None
        self._line_ends = b""

    def update(self, piece: bytes, *, is_end: bool) -> None:
        """Take the next piece of a document, and its last one when it ends there."""
        if self._hash is None:
            piece = piece.lstrip(LINE_ENDS)
            if not piece:
                return
            self._hash = hashlib.blake2b(digest_size=_HASH_BYTES)
        text = piece.rstrip(LINE_ENDS)
        if text:
            self._hash.update(self._line_ends + text if self._line_ends else text)
            self._line_ends = b""
        if is_end:
            self._digests += self._hash.digest()
            self._hash = None
            self._line_ends = b""
        else:
            self._line_ends += piece[len(text) :]

    @property
    def num_documents(self) -> int:
        """Return how many documents have ended that hold more than line ends."""
        return len(self._digests) // _HASH_BYTES

    def hashes(self) -> NDArray[np.uint64]:
        """Return the hashes in the order of the documents."""
        return np.frombuffer(bytes(self._digests), dtype="<u8").astype(np.uint64)
