"""Own encoding a byte range of a text to a shard of token ids and its document offsets."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from tokenizer.cuts import CutRule, cut_rule
from tokenizer.pretokenize import iter_pretokens, iter_segments
from tokenizer.windows import ByteSource, iter_windows, open_source, read_bytes

DOCUMENT_SEPARATOR = "<|endoftext|>"

_HEADER_BYTES = 128
_MAX_UINT16_VOCAB = 65_536


class BytePairEncoding(Protocol):
    """What encoding needs of a tokenizer; `Tokenizer` has it."""

    @property
    def vocab(self) -> dict[int, bytes]:
        """Return {token id: bytes}."""

    @property
    def merges(self) -> list[tuple[bytes, bytes]]:
        """Return the merges, first one first."""

    @property
    def special_tokens(self) -> Sequence[str]:
        """Return the special tokens."""

    @property
    def pattern(self) -> str:
        """Return the split pattern's name or regex."""


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
    document_separator: str = DOCUMENT_SEPARATOR,
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
    rule = cut_rule(special_tokens=tokenizer.special_tokens, pattern=tokenizer.pattern)
    separator = document_separator.encode("utf-8")
    dtype = np.dtype("<u2" if max(tokenizer.vocab, default=0) < _MAX_UINT16_VOCAB else "<u4")
    with open_source(path) as source, output.open("wb") as shard:
        end = source.size_bytes if stop is None else stop
        if not 0 <= start <= end <= source.size_bytes:
            raise ValueError(
                f"bytes {start} to {end} do not lie in {path}, which has {source.size_bytes} bytes"
            )
        shard.write(bytes(_HEADER_BYTES))
        documents = [np.zeros(1, np.int64)] if _begins_document(source, start, separator) else []
        num_tokens = done = 0
        windows = _encode_windows(tokenizer, source, start, end, rule, separator, num_threads)
        for ids, ends, size in windows:
            _check_ids(ids, tokenizer)
            shard.write(ids.astype(dtype, copy=False).data)
            documents.append(ends + num_tokens)
            num_tokens += len(ids)
            done += size
            if on_progress is not None:
                on_progress(done, end - start)
        _write_header(shard, dtype, num_tokens)
    starts = np.concatenate([np.zeros(0, np.int64), *documents])
    starts = starts[starts < num_tokens]
    np.save(documents_output, starts)
    return EncodedFile(
        num_tokens=num_tokens,
        num_documents=len(starts),
        dtype=dtype.name,
        size_bytes=end - start,
    )


def _encode_windows(
    tokenizer: BytePairEncoding,
    source: ByteSource,
    start: int,
    stop: int,
    rule: CutRule,
    separator: bytes,
    num_threads: int,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], int]]:
    """Yield (ids, places after each document separator, bytes) by window, in order."""
    ids_of = {token: token_id for token_id, token in tokenizer.vocab.items()}
    ranks = {pair: rank for rank, pair in enumerate(tokenizer.merges)}
    cache: dict[bytes, list[int]] = {}

    def encode_window(text: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        ids: list[int] = []
        ends: list[int] = []
        for segment, special_token in iter_segments(text, tokenizer.special_tokens):
            for pretoken in iter_pretokens(segment, pattern=tokenizer.pattern):
                known = cache.get(pretoken)
                if known is None:
                    known = cache[pretoken] = [ids_of[t] for t in _merge(pretoken, ranks)]
                ids += known
            if special_token is not None:
                ids.append(ids_of[special_token])
                if special_token == separator:
                    ends.append(len(ids))
        return np.array(ids, np.int64), np.array(ends, np.int64), len(text)

    windows = iter_windows(source, start, stop, rule)
    texts = (bytes(buffer[:length]) for buffer, _, length in windows)
    with ThreadPoolExecutor(num_threads) as pool:
        while batch := list(islice(texts, num_threads)):
            yield from pool.map(encode_window, batch)


def _merge(pretoken: bytes, ranks: dict[tuple[bytes, bytes], int]) -> list[bytes]:
    tokens = [bytes([byte]) for byte in pretoken]
    while len(tokens) > 1:
        pairs = list(pairwise(tokens))
        best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        place = pairs.index(best)
        tokens[place : place + 2] = [best[0] + best[1]]
    return tokens


def _check_ids(ids: NDArray[np.int64], tokenizer: BytePairEncoding) -> None:
    if len(ids) and not (ids.min() >= 0 and int(ids.max()) < len(tokenizer.vocab)):
        raise ValueError(
            f"token ids from {ids.min()} to {ids.max()} do not lie in the vocabulary of "
            f"{len(tokenizer.vocab)}; its ids must be 0 to {len(tokenizer.vocab) - 1}"
        )


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
