"""Measures of a tokenizer on a text, and of two tokenizers side by side."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np

from tokenizer.encoding.file_encoder import encode_file
from tokenizer.encoding.tokenizer import Tokenizer

PILE_BYTES = 825 * 10**9
"""The Pile's size as CS336 gives it, 825 GB, read as decimal units (Gao et al. 2020, table 1)."""

PILE_BINARY_BYTES = 825 * 2**30
"""The same size as its authors give it, 825 GiB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodingMeasure:
    """Size, tokens and time of one encoding."""

    size_bytes: int
    """Bytes of the text."""

    num_tokens: int
    """Tokens of the text, special ones included."""

    seconds: float
    """Time from the text on disk to the token ids on disk, reading and writing included."""

    num_threads: int
    """Threads that encoded."""

    @property
    def bytes_per_token(self) -> float:
        """Return the compression; higher is better, NaN for an empty text."""
        return self.size_bytes / self.num_tokens if self.num_tokens else float("nan")

    @property
    def bytes_per_second(self) -> float:
        """Return the throughput on these threads of this machine."""
        return self.size_bytes / self.seconds

    def seconds_for(self, size_bytes: int) -> float:
        """Predict the time for another size at this throughput, as for `PILE_BYTES`."""
        return size_bytes / self.bytes_per_second


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleMeasure:
    """Bytes and tokens of some documents, one entry each."""

    num_bytes: tuple[int, ...]
    num_tokens: tuple[int, ...]

    @property
    def bytes_per_token(self) -> float:
        """Return the compression over all documents: long ones count for more."""
        return sum(self.num_bytes) / sum(self.num_tokens)


@dataclass(frozen=True, kw_only=True, slots=True)
class IdType:
    """The smallest unsigned type that holds every id of a vocabulary."""

    name: str
    """As NumPy calls it."""
    num_bytes: int
    largest_id: int
    """Of the vocabulary."""
    largest_value: int
    """Of the type."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VocabularyOverlap:
    """The tokens that two vocabularies share and do not share; ids are not compared."""

    num_shared: int
    """Tokens that both have, the 256 bytes included."""

    only_first: tuple[bytes, ...]
    """Tokens of the first alone, in the order of its ids."""

    only_second: tuple[bytes, ...]
    """Tokens of the second alone, in the order of its ids."""

    num_common_merges: int
    """Merges at the start of both lists that are the same."""

    @property
    def jaccard(self) -> float:
        """Return shared tokens over all tokens of either."""
        return self.num_shared / (self.num_shared + len(self.only_first) + len(self.only_second))


def measure_encoding(
    tokenizer: Tokenizer,
    path: str | Path,
    *,
    num_threads: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> EncodingMeasure:
    """Encode a text to a temporary folder, as a pipeline would, and measure it.

    The folder needs two to four bytes a token.

    Args:
        tokenizer: What encodes.
        path: A local path or an fsspec URL.
        num_threads: Threads that encode at the same time.
        on_progress: Called with (bytes done, bytes in all).
    """
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        encoded = encode_file(
            tokenizer,
            path,
            output=Path(folder) / "shard.npy",
            documents_output=Path(folder) / "documents.npy",
            num_threads=num_threads,
            on_progress=on_progress,
        )
        seconds = time.perf_counter() - started
    return EncodingMeasure(
        size_bytes=encoded.size_bytes,
        num_tokens=encoded.num_tokens,
        seconds=seconds,
        num_threads=num_threads,
    )


def compression_matrix(
    tokenizers: Mapping[str, Tokenizer],
    paths: Sequence[str | Path],
    *,
    num_threads: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, list[EncodingMeasure]]:
    """Measure every tokenizer on every text: a row by tokenizer, a column by text.

    Args:
        tokenizers: The tokenizers, by the names that the rows shall have.
        paths: Local paths or fsspec URLs.
        num_threads: Threads that encode at the same time.
        on_progress: Called with (bytes done, bytes in all) of each encoding.
    """
    return {
        name: [
            measure_encoding(tokenizer, path, num_threads=num_threads, on_progress=on_progress)
            for path in paths
        ]
        for name, tokenizer in tokenizers.items()
    }


def measure_samples(
    tokenizer: Tokenizer, samples: Mapping[str, Sequence[bytes]]
) -> dict[str, SampleMeasure]:
    """Encode sampled documents one by one, by the names of their corpora."""
    return {
        name: SampleMeasure(
            num_bytes=tuple(map(len, documents)),
            num_tokens=tuple(len(tokenizer.encode_bytes(document)) for document in documents),
        )
        for name, documents in samples.items()
    }


def smallest_id_type(vocab_size: int) -> IdType:
    """Return the type that token files need; the next smaller one cannot hold the largest id."""
    dtype = np.min_scalar_type(vocab_size - 1)
    return IdType(
        name=dtype.name,
        num_bytes=dtype.itemsize,
        largest_id=vocab_size - 1,
        largest_value=int(np.iinfo(dtype).max),
    )


def compare_vocabularies(first: Tokenizer, second: Tokenizer) -> VocabularyOverlap:
    """Compare which tokens and merges two tokenizers have."""
    both_merges = zip(first.merges, second.merges, strict=False)
    first_tokens, second_tokens = set(first.vocab.values()), set(second.vocab.values())
    return VocabularyOverlap(
        num_shared=len(first_tokens & second_tokens),
        only_first=tuple(token for token in first.vocab.values() if token not in second_tokens),
        only_second=tuple(token for token in second.vocab.values() if token not in first_tokens),
        num_common_merges=len(list(takewhile(lambda pair: pair[0] == pair[1], both_merges))),
    )


def longest_tokens(tokenizer: Tokenizer) -> list[tuple[int, bytes]]:
    """Return (id, bytes) of the longest tokens that are not special, with all ties, by id."""
    special = set(tokenizer.special_token_ids.values())
    tokens = [(token_id, token) for token_id, token in sorted(tokenizer.vocab.items())]
    tokens = [(token_id, token) for token_id, token in tokens if token_id not in special]
    longest = max(len(token) for _, token in tokens)
    return [(token_id, token) for token_id, token in tokens if len(token) == longest]
