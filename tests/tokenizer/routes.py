"""Every way from a text to its token ids and counts, for tests with windows of a few bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tokenizer.samples import as_dict
from tokenizer import reference
from tokenizer.encoding import file_encoder
from tokenizer.encoding.file_encoder import encode_file
from tokenizer.encoding.tokenizer import Tokenizer
from tokenizer.formats.vocabulary import build_vocab
from tokenizer.text import ranges, windows
from tokenizer.text.ranges import byte_ranges
from tokenizer.training import count
from tokenizer.training.count import count_pretokens
from tokenizer.training.count_tables import merge

MERGES = [(b"a", b"b"), (b" ", b"a"), (b"a", b"a"), (b" a", b"b"), (b"aa", b"aa"), (b"b", b"b")]
"""A few merges among the letters that special tokens are made of here."""


def tokenizer_with(special_tokens: list[str], pattern: str) -> Tokenizer:
    """Make a tokenizer of these special tokens and of those `MERGES` that make none of them."""
    taken = {token.encode() for token in special_tokens}
    merges = []
    for left, right in MERGES:
        if taken.isdisjoint((left, right, left + right)):
            merges.append((left, right))
        else:
            taken.add(left + right)
    return Tokenizer(build_vocab(merges, special_tokens), merges, special_tokens, pattern=pattern)


@contextmanager
def windows_of(window_bytes: int, search_bytes: int) -> Iterator[None]:
    """Let windows, spans of threads, and the search for cuts be this small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "WINDOW_BYTES", window_bytes)
        patch.setattr(file_encoder, "WINDOW_BYTES", window_bytes)
        patch.setattr(count, "_MIN_TASK_BYTES", window_bytes)
        patch.setattr(ranges, "_SEARCH_BYTES", search_bytes)
        yield


def differing_routes(tokenizer: Tokenizer, path: Path, range_bytes: int) -> list[str]:
    """Return by which routes a text has other ids, documents or counts than by the reference.

    Documents end at the first special token.
    """
    data = path.read_bytes()
    options: dict[str, Any] = {
        "pattern": tokenizer.pattern,
        "special_tokens": tokenizer.special_tokens,
    }
    divided = byte_ranges(path, range_bytes, **options)
    routes = {"shards": _joined([_encoded(tokenizer, path, span) for span in divided])}
    counted = {
        "ranges": merge(
            count_pretokens(path, start=start, stop=stop, **options) for start, stop in divided
        )
    }
    for number in (1, 2, 3):
        routes[f"{number} threads"] = _encoded(tokenizer, path, (0, None), number)
        counted[f"{number} threads"] = count_pretokens(path, num_threads=number, **options)
    ids = reference.encode(data, tokenizer.vocab, tokenizer.merges, **options)
    separator = tokenizer.special_token_ids[tokenizer.special_tokens[0]]
    ends = [place + 1 for place, token_id in enumerate(ids) if token_id == separator]
    starts = [place for place in (0, *ends) if place < len(ids)]
    counts = reference.count_pretokens(data, **options)
    different = ["ids of the whole"] if tokenizer.encode_bytes(data) != ids else []
    different += [f"shard of {route}" for route, found in routes.items() if found != (ids, starts)]
    return different + [
        f"counts of {route}" for route, found in counted.items() if as_dict(found) != counts
    ]


def _encoded(
    tokenizer: Tokenizer, path: Path, span: tuple[int, int | None], num_threads: int = 1
) -> tuple[list[int], list[int]]:
    """Return the ids of a range, and the places in them where documents start."""
    output, documents_output = path.with_suffix(".npy"), path.with_suffix(".documents.npy")
    encode_file(
        tokenizer,
        path,
        start=span[0],
        stop=span[1],
        output=output,
        documents_output=documents_output,
        document_separator=tokenizer.special_tokens[0],
        num_threads=num_threads,
    )
    return np.load(output).tolist(), np.load(documents_output).tolist()


def _joined(shards: list[tuple[list[int], list[int]]]) -> tuple[list[int], list[int]]:
    ids: list[int] = []
    starts: list[int] = []
    for shard_ids, shard_starts in shards:
        starts += [place + len(ids) for place in shard_starts]
        ids += shard_ids
    return ids, starts
