"""Own encoding a byte range of a text to a shard of token ids and its document offsets."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from tokenizer.encoding.fast import FastEncoder
from tokenizer.encoding.merging import merge_pretoken
from tokenizer.kernels.encode_table import WORD_BYTES
from tokenizer.pretokenize import iter_pretokens, iter_segments
from tokenizer.special_tokens import END_OF_TEXT
from tokenizer.text.cuts import CutRule, cut_rule
from tokenizer.text.ranges import cut_range
from tokenizer.text.windows import (
    PADDING_BYTES,
    WINDOW_BYTES,
    ByteSource,
    iter_windows,
    open_source,
    read_bytes,
    read_into,
)

_HEADER_BYTES = 128
_MAX_UINT16_VOCAB = 65_536
_CACHED_PRETOKENS = 2**17


_Encoded = tuple[NDArray[np.unsignedinteger], NDArray[np.int64], int]
"""Token ids, places after each document separator, bytes of the text."""

_Encode = Callable[[bytearray, NDArray[np.uint8], int], _Encoded]
"""Encodes a window: a buffer, the same memory as an array, and how much of it is text."""

_Outputs = SimpleQueue[NDArray[np.unsignedinteger]]
"""Arrays whose ids have been written to the disk, to be used again."""


@dataclass(frozen=True)
class _Job:
    """What every encoding thread is given."""

    rule: CutRule
    separator: bytes
    vocab_size: int
    dtype: np.dtype[np.unsignedinteger]
    bytes_per_thread: int


class BytePairEncoding(Protocol):
    """What encoding needs of a tokenizer; `Tokenizer` has it."""

    @property
    def vocab(self) -> Mapping[int, bytes]:
        """Map each token id to its bytes."""

    @property
    def merges(self) -> Sequence[tuple[bytes, bytes]]:
        """List the merges, first one first."""

    @property
    def special_tokens(self) -> Sequence[str]:
        """List the special tokens."""

    @property
    def pattern(self) -> str:
        """Name the split pattern, or give its regex."""


@dataclass(frozen=True, kw_only=True)
class EncodedFile:
    """Say what `encode_file` wrote."""

    num_tokens: int
    num_documents: int
    """Documents that begin in this range."""

    dtype: str
    """Of the shard: "uint16", or "uint32" for more than 65,536 token ids."""

    size_bytes: int
    """Of the text that was encoded."""


def encode_file(
    tokenizer: BytePairEncoding,
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
        tokenizer: vocabulary, merges, special tokens and pattern.
        path: a local path or an fsspec URL.
        start: first byte; a safe cut, as `byte_ranges` returns them.
        stop: one after the last byte, None for the end of the text.
        output: 1-D little-endian `.npy`, uint16 or uint32.
        documents_output: `.npy` of int64, the places in the shard at which a document starts. The
            first document of the range is there only when the range begins with a document.
        document_separator: the special token that ends a document; its token belongs to the
            document that it ends. When it is no special token of the tokenizer, a text is one
            document.
        num_threads: threads that encode at the same time.
        on_progress: called with (bytes done, bytes in all).

    Raises:
        ValueError: the range lies outside the text, or a token id lies outside the vocabulary.
    """
    if num_threads < 1:
        raise ValueError(f"num_threads ({num_threads}) must be at least 1")
    with open_source(path) as source, output.open("wb") as shard:
        end = source.size_bytes if stop is None else stop
        if not 0 <= start <= end <= source.size_bytes:
            raise ValueError(
                f"bytes {start} to {end} do not lie in {path}, which has {source.size_bytes} bytes"
            )
        job = _make_job(tokenizer, document_separator, (end - start) // num_threads)
        with closing(_encode_spans(tokenizer, source, start, end, job, num_threads)) as windows:
            num_tokens, ends = _write_shard(shard, windows, job, end - start, on_progress)
        begins = _begins_document(source, start, job.separator)
    # After a separator a document starts, unless the range ends there.
    starts = np.concatenate([np.zeros(int(begins), np.int64), *ends])
    starts = starts[starts < num_tokens]
    np.save(documents_output, starts)
    return EncodedFile(
        num_tokens=num_tokens,
        num_documents=len(starts),
        dtype=job.dtype.name,
        size_bytes=end - start,
    )


def _make_job(tokenizer: BytePairEncoding, document_separator: str, bytes_per_thread: int) -> _Job:
    vocab_size = max(tokenizer.vocab, default=-1) + 1
    return _Job(
        rule=cut_rule(special_tokens=tokenizer.special_tokens, pattern=tokenizer.pattern),
        separator=document_separator.encode("utf-8"),
        vocab_size=vocab_size,
        dtype=np.dtype("<u2" if vocab_size <= _MAX_UINT16_VOCAB else "<u4"),
        bytes_per_thread=bytes_per_thread,
    )


def _write_shard(
    shard: BinaryIO,
    windows: Iterator[_Encoded],
    job: _Job,
    size_bytes: int,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[int, list[NDArray[np.int64]]]:
    """Write the ids of all windows; return their number and the places after each separator."""
    shard.write(bytes(_HEADER_BYTES))
    separator_ends = []
    num_tokens = done = 0
    for ids, ends, size in windows:
        shard.write(ids.data)
        separator_ends.append(ends + num_tokens)
        num_tokens += len(ids)
        done += size
        if on_progress is not None:
            on_progress(done, size_bytes)
    _write_header(shard, job.dtype, num_tokens)
    return num_tokens, separator_ends


def _encode_spans(
    tokenizer: BytePairEncoding,
    source: ByteSource,
    start: int,
    stop: int,
    job: _Job,
    num_threads: int,
) -> Generator[_Encoded, None, None]:
    """Yield what one window of the range after the other gives, in order.

    The arrays are used again once the next item is asked for.
    """
    outputs: _Outputs = SimpleQueue()
    make = _make_fast_encoders if job.rule.at_whitespace else _make_regex_encoders
    encoders = make(tokenizer, job, num_threads, outputs)
    if num_threads == 1:
        windows = iter_windows(source, start, stop, job.rule)
        encoded: Generator[_Encoded, None, None] = (encoders[0](*window) for window in windows)
    else:
        spans = cut_range(source, start, stop, WINDOW_BYTES, job.rule)
        encoded = _encode_on_threads(encoders, source, spans)
    with closing(encoded):
        for item in encoded:
            yield item
            if item[0].base is not None:  # it is a part of an array of `_make_fast_encoder`
                outputs.put(item[0].base)


def _encode_on_threads(
    encoders: Sequence[_Encode], source: ByteSource, spans: Sequence[tuple[int, int]]
) -> Generator[_Encoded, None, None]:
    """Encode each span in the next free thread; yield the results in the order of the spans."""
    # Each with the buffer that it reads into: new memory for every span costs page faults.
    workers: SimpleQueue[tuple[_Encode, bytearray]] = SimpleQueue()
    for encode in encoders:
        workers.put((encode, bytearray()))

    def encode_span(span: tuple[int, int]) -> _Encoded:
        encode, buffer = workers.get()
        try:
            length = span[1] - span[0]
            if len(buffer) < length + PADDING_BYTES:
                buffer = bytearray(length + length // 8 + PADDING_BYTES)
            with memoryview(buffer) as view:
                read_into(source, span[0], view[:length])
            ids, ends, size = encode(buffer, np.frombuffer(buffer, dtype=np.uint8), length)
            return ids, ends.copy(), size
        finally:
            workers.put((encode, buffer))

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


def _make_fast_encoders(
    tokenizer: BytePairEncoding, job: _Job, number: int, outputs: _Outputs
) -> list[_Encode]:
    """Return functions that encode a window with the kernels of GPT-2's pattern."""
    first = FastEncoder(
        tokenizer.vocab,
        tokenizer.merges,
        tokenizer.special_tokens,
        expected_bytes=job.bytes_per_thread,
    )
    encoders = [first, *(first.twin() for _ in range(number - 1))]
    return [_make_fast_encoder(encoder, job, outputs) for encoder in encoders]


def _make_fast_encoder(encoder: FastEncoder, job: _Job, outputs: _Outputs) -> _Encode:
    def encode(_buffer: bytearray, data: NDArray[np.uint8], length: int) -> _Encoded:
        try:
            out = outputs.get_nowait()
        except Empty:
            out = encoder.empty_output(len(data))
        if len(out) < length + WORD_BYTES:
            out = encoder.empty_output(len(data))
        num_ids, ends = encoder.encode_window(data, length, out, job.separator)
        return _checked(out[:num_ids], length, job), ends, length

    return encode


def _make_regex_encoders(
    tokenizer: BytePairEncoding, job: _Job, number: int, _outputs: _Outputs
) -> list[_Encode]:
    """Return functions that encode a window by the `regex` module, for any pattern."""
    return [_make_regex_encoder(tokenizer, job) for _ in range(number)]


def _make_regex_encoder(tokenizer: BytePairEncoding, job: _Job) -> _Encode:
    ids_of = {token: token_id for token_id, token in tokenizer.vocab.items()}
    ranks = {pair: rank for rank, pair in enumerate(tokenizer.merges)}

    @lru_cache(maxsize=_CACHED_PRETOKENS)
    def ids_of_pretoken(pretoken: bytes) -> list[int]:
        return [ids_of[token] for token in merge_pretoken(pretoken, ranks)]

    def encode(buffer: bytearray, _data: NDArray[np.uint8], length: int) -> _Encoded:
        ids: list[int] = []
        ends: list[int] = []
        for segment, special_token in iter_segments(
            bytes(buffer[:length]), tokenizer.special_tokens
        ):
            for pretoken in iter_pretokens(segment, pattern=tokenizer.pattern):
                ids += ids_of_pretoken(pretoken)
            if special_token is not None:
                ids.append(ids_of[special_token])
                if special_token == job.separator:
                    ends.append(len(ids))
        array = np.array(ids, dtype=np.uint32)
        return _checked(array, length, job).astype(job.dtype), np.array(ends, np.int64), length

    return encode


def _checked(
    ids: NDArray[np.unsignedinteger], length: int, job: _Job
) -> NDArray[np.unsignedinteger]:
    """Return the ids; `ValueError` when one lies outside the vocabulary or bytes gave no ids."""
    if len(ids) > 0 and int(ids.max()) >= job.vocab_size:
        raise ValueError(
            f"token id {ids.max()} does not lie in the vocabulary, whose ids are 0 to "
            f"{job.vocab_size - 1}"
        )
    if len(ids) == 0 and length > 0:
        raise ValueError(f"{length} bytes of text gave no token ids; this is a bug of the encoder")
    return ids


def _begins_document(source: ByteSource, start: int, separator: bytes) -> bool:
    before = read_bytes(source, max(0, start - len(separator)), start)
    return start == 0 or before == separator


def _write_header(shard: BinaryIO, dtype: np.dtype[np.unsignedinteger], num_tokens: int) -> None:
    """Write a version 1.0 header of fixed size, so that the ids could be streamed after it.

    Source: NumPy, `numpy/lib/format.py`, "Format Version 1.0".
    """
    header = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': ({num_tokens},), }}"
    prefix = b"\x93NUMPY\x01\x00" + (_HEADER_BYTES - 10).to_bytes(2, "little")
    shard.seek(0)
    shard.write(prefix + header.ljust(_HEADER_BYTES - 11).encode("latin-1") + b"\n")
