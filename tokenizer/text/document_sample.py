"""A sample of documents that depends on nothing but the documents themselves.

Those with the smallest hashes are taken (bottom-k sampling, Cohen and Kaplan 2007): the choice is
as good as random, needs one pass and no memory, and is the same wherever the documents are in the
file, however often they are repeated, and on every machine.
"""

import hashlib
from bisect import insort
from collections.abc import Callable, Iterator
from pathlib import Path

from tokenizer.special_tokens import END_OF_TEXT
from tokenizer.text.documents import LINE_ENDS, iter_pieces, iter_windows

_HASH_BYTES = 16


def sample_documents(
    path: str | Path,
    *,
    num_documents: int = 10,
    separator: str = END_OF_TEXT,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[bytes]:
    """Return the sampled documents, all different, in the order of their hashes.

    Args:
        path: A local path or an fsspec URL.
        num_documents: Documents to take; fewer where the corpus has fewer.
        separator: The text between two documents.
        seed: Each seed is another sample.
        on_progress: Called with (bytes done, bytes in all).
    """
    if num_documents < 1:
        raise ValueError(f"num_documents ({num_documents}) must be at least 1")
    chosen: list[tuple[bytes, bytes]] = []
    for document in _iter_documents(path, separator, on_progress):
        entry = (document_hash(document, seed=seed), document)
        if len(chosen) == num_documents and entry >= chosen[-1]:
            continue
        if entry not in chosen:
            insort(chosen, entry)
            del chosen[num_documents:]
    return [document for _, document in chosen]


def document_hash(document: bytes, *, seed: int = 0) -> bytes:
    """Return the hash that decides whether a document is in a sample."""
    key = str(seed).encode()
    return hashlib.blake2b(document, digest_size=_HASH_BYTES, key=key).digest()


def _iter_documents(
    path: str | Path, separator: str, on_progress: Callable[[int, int], None] | None
) -> Iterator[bytes]:
    pieces: list[bytes] = []
    for piece, is_end in iter_pieces(iter_windows(path, on_progress), separator):
        pieces.append(piece)
        if is_end:
            document = b"".join(pieces).strip(LINE_ENDS)
            if document:
                yield document
            pieces = []
