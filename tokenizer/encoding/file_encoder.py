"""Encoding a byte range of a text to a shard of token ids, with the places of its documents."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenizer.encoding.encoder import Encoder, id_dtype
from tokenizer.encoding.shard import ShardWriter
from tokenizer.encoding.tokenizer import Tokenizer
from tokenizer.special_tokens import END_OF_TEXT
from tokenizer.text.cuts import CutRule, cut_rule
from tokenizer.text.ranges import cut_range, follows_special
from tokenizer.text.windows import (
    PADDING_BYTES,
    WINDOW_BYTES,
    ByteSource,
    iter_windows,
    open_source,
    range_end,
    read_into,
)


@dataclass(frozen=True, kw_only=True)
class EncodedFile:
    """What `encode_file` wrote."""

    num_tokens: int
    """Token ids in the shard."""

    num_documents: int
    """Documents that begin in this range."""

    dtype: str
    """Type of the ids: "uint16", or "uint32" for more than 65,536 token ids."""

    size_bytes: int
    """Bytes of the text that was encoded."""


class _EncodedWindow(NamedTuple):
    out: NDArray[np.unsignedinteger]
    """Begins with the token ids."""

    num_ids: int

    separator_ends: NDArray[np.int64]
    """Places in `out` after each document separator."""

    size_bytes: int
    """Bytes of the window's text."""


@dataclass(frozen=True)
class _Job:
    """What all threads that encode a range need."""

    source: ByteSource
    rule: CutRule
    separator: bytes
    vocab_size: int

    used_arrays: SimpleQueue[NDArray[np.unsignedinteger]] = field(default_factory=SimpleQueue)
    """Arrays whose ids are on disk, to be filled again: new memory costs page faults."""


def encode_file(
    tokenizer: Tokenizer,
    path: str | Path,
    *,
    start: int = 0,
    stop: int | None = None,
    output: Path,
    documents_output: Path,
    document_separator: str = END_OF_TEXT,
    num_threads: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> EncodedFile:
    """Encode bytes [start, stop) of a text to `output`, straight on disk.

    The files are the same for any number of threads, and the shards of `byte_ranges` joined are
    the shard of the whole text.

    Args:
        tokenizer: What encodes.
        path: A local path or an fsspec URL.
        start: First byte; a safe cut, as `byte_ranges` returns them.
        stop: One after the last byte, None for the end of the text.
        output: 1-D little-endian `.npy`, uint16 or uint32.
        documents_output: `.npy` of int64, the places in the shard at which a document starts. The
            first document of the range is there only when the range begins with a document.
        document_separator: The special token that ends a document; its token belongs to the
            document that it ends. When it is no special token of the tokenizer, a text is one
            document.
        num_threads: Threads that encode at the same time.
        on_progress: Called with (bytes done, bytes in all).

    Raises:
        ValueError: The range lies outside the text, or a token id lies outside the vocabulary.
    """
    if num_threads < 1:
        raise ValueError(f"num_threads ({num_threads}) must be at least 1")
    with open_source(path) as source, output.open("wb") as file:
        end = range_end(source, start, stop)
        job = _Job(
            source=source,
            rule=cut_rule(special_tokens=tokenizer.special_tokens, pattern=tokenizer.pattern),
            separator=document_separator.encode("utf-8"),
            vocab_size=tokenizer.vocab_size,
        )
        encoders = tokenizer.window_encoders(num_threads)
        shard = ShardWriter(file, id_dtype(tokenizer.vocab_size))
        with closing(_encode_range(job, encoders, start, end)) as windows:
            separator_ends = _write_windows(job, windows, shard, end - start, on_progress)
        begins = _begins_document(job, start)
    # After a separator a document starts, unless the range ends there.
    starts = np.concatenate([np.zeros(int(begins), np.int64), *separator_ends])
    starts = starts[starts < shard.num_tokens]
    np.save(documents_output, starts)
    return EncodedFile(
        num_tokens=shard.num_tokens,
        num_documents=len(starts),
        dtype=shard.dtype.name,
        size_bytes=end - start,
    )


def _write_windows(
    job: _Job,
    windows: Iterable[_EncodedWindow],
    shard: ShardWriter,
    size_bytes: int,
    on_progress: Callable[[int, int], None] | None,
) -> list[NDArray[np.int64]]:
    """Write the ids of all windows; return the places in the shard after each separator."""
    separator_ends = []
    done = 0
    for window in windows:
        separator_ends.append(window.separator_ends + shard.num_tokens)
        shard.write(window.out[: window.num_ids])
        job.used_arrays.put(window.out)
        done += window.size_bytes
        if on_progress is not None:
            on_progress(done, size_bytes)
    shard.finish()
    return separator_ends


def _begins_document(job: _Job, start: int) -> bool:
    return start == 0 or follows_special(job.source, start, job.separator, job.rule)


def _encode_range(
    job: _Job, encoders: Sequence[Encoder], start: int, stop: int
) -> Generator[_EncodedWindow, None, None]:
    """Yield the windows of the range in order, each encoded; one thread for each encoder."""
    if len(encoders) > 1:
        spans = cut_range(job.source, start, stop, WINDOW_BYTES, job.rule)
        yield from _encode_on_threads(job, encoders, spans)
        return
    for data, length in iter_windows(job.source, start, stop, job.rule):
        yield _encode_window(job, encoders[0], data, length)


def _encode_on_threads(
    job: _Job, encoders: Sequence[Encoder], spans: Sequence[tuple[int, int]]
) -> Generator[_EncodedWindow, None, None]:
    """Encode each span in the next free thread; yield the results in the order of the spans."""
    # Each with the buffer that it reads into: new memory for every span costs page faults.
    workers: SimpleQueue[tuple[Encoder, bytearray]] = SimpleQueue()
    for encoder in encoders:
        workers.put((encoder, bytearray()))

    def encode_span(span: tuple[int, int]) -> _EncodedWindow:
        encoder, buffer = workers.get()
        try:
            length = span[1] - span[0]
            if len(buffer) < length + PADDING_BYTES:
                buffer = bytearray(length + length // 8 + PADDING_BYTES)
            with memoryview(buffer) as view:
                read_into(job.source, span[0], view[:length])
            return _encode_window(job, encoder, np.frombuffer(buffer, dtype=np.uint8), length)
        finally:
            workers.put((encoder, buffer))

    pool = ThreadPoolExecutor(len(encoders))
    try:
        # As many spans ahead of the writer as keep all threads busy, and no more, for memory.
        num_ahead = 2 * len(encoders)
        ahead = deque(pool.submit(encode_span, span) for span in spans[:num_ahead])
        for span in spans[num_ahead:]:
            yield ahead.popleft().result()
            ahead.append(pool.submit(encode_span, span))
        for future in ahead:
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)  # before the text is closed


def _encode_window(
    job: _Job, encoder: Encoder, data: NDArray[np.uint8], length: int
) -> _EncodedWindow:
    """Encode one window and check its ids.

    Raises:
        ValueError: An id lies outside the vocabulary, or bytes gave no ids.
    """
    try:
        out = job.used_arrays.get_nowait()
    except Empty:
        out = np.empty(0, id_dtype(job.vocab_size))
    if len(out) < length + PADDING_BYTES:
        out = np.empty(len(data), id_dtype(job.vocab_size))
    num_ids, separator_ends = encoder.encode_window(data, length, out, job.separator)
    highest = int(out[:num_ids].max(initial=0))
    if highest >= job.vocab_size:
        raise ValueError(
            f"token id {highest} does not lie in the vocabulary, whose ids are 0 to "
            f"{job.vocab_size - 1}"
        )
    if num_ids == 0 and length > 0:
        raise ValueError(f"{length} bytes of text gave no token ids; this is a bug of the encoder")
    return _EncodedWindow(out, num_ids, separator_ends, length)
