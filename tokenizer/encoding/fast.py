"""The fast encoder: GPT-2's split pattern, by the kernels."""

import threading
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tokenizer.encoding.encoder import id_dtype
from tokenizer.encoding.known_pretokens import KnownPretokens
from tokenizer.encoding.merge_tables import merge_tables
from tokenizer.formats.merge_ids import MergeIds, merge_ids
from tokenizer.kernels.classify.boundaries import STARTS_SLACK, special_arrays
from tokenizer.kernels.classify.classes import class_table
from tokenizer.kernels.encoding.encode_window import (
    BATCH,
    KEY_WORDS,
    PIECE_BYTES,
    Workspace,
    encode_window,
)
from tokenizer.kernels.encoding.ranked_merges import SCAN_BYTES
from tokenizer.kernels.first_use import announce_compile
from tokenizer.text.windows import PADDING_BYTES


class FastEncoder:
    """Encode bytes with one vocabulary, by a table of pretokens that fills itself."""

    def __init__(
        self,
        ids: Mapping[bytes, int],
        merges: MergeIds,
        special_tokens: Sequence[str] = (),
    ) -> None:
        """Build the tables; a few milliseconds for 50,000 merges.

        Raises:
            ValueError: The vocabulary is larger than the kernels' tables can hold.
        """
        announce_compile(encode_window, "encoding")
        self.merges = merge_tables(ids, merges)
        self._dtype = id_dtype(max(ids.values()) + 1)
        specials = sorted((token.encode("utf-8") for token in special_tokens), key=len)[::-1]
        self._special_tokens = specials  # the longest first
        self._specials = special_arrays(specials)
        self._special_ids = np.array([ids[token] for token in specials], dtype=np.int32)
        self.known = KnownPretokens(self._dtype)
        self.piece_bytes = PIECE_BYTES
        self._take_memory()

    @classmethod
    def from_vocab(
        cls,
        vocab: Mapping[int, bytes],
        merges: Sequence[tuple[bytes, bytes]],
        special_tokens: Sequence[str] = (),
    ) -> Self:
        """Look the ids up, some twenty milliseconds for 50,000 merges, and build the tables."""
        ids = {token: token_id for token_id, token in vocab.items()}
        return cls(ids, merge_ids(ids, merges), special_tokens)

    def twin(self) -> Self:
        """Return an encoder for another thread: the same merges and known pretokens."""
        other = copy(self)
        other._take_memory()
        return other

    def _take_memory(self) -> None:
        """Make what no two threads may use at the same time."""
        self._work = Workspace(
            keys=np.empty(KEY_WORDS * BATCH, np.uint64),
            ids=np.empty(SCAN_BYTES, np.int32),
            ranks=np.empty(SCAN_BYTES, np.int32),
        )
        self._starts = np.empty(0, np.uint32)
        self._ends = np.empty(0, np.int64)
        self._lock = threading.Lock()

    def encode(self, data: bytes) -> list[int]:
        """Return the token ids of a whole text; several threads may call it."""
        buffer = np.zeros(len(data) + PADDING_BYTES, np.uint8)
        buffer[: len(data)] = np.frombuffer(data, np.uint8)
        out = np.empty(len(buffer), self._dtype)
        with self._lock:  # the kernels release the GIL
            num_ids, _ = self.encode_window(buffer, len(data), out, b"")
        ids = out[:num_ids].copy()
        # Given back before the list takes its memory: a sixth faster for 10 MB.
        del buffer, out
        token_ids: list[int] = ids.tolist()
        return token_ids

    def encode_window(
        self,
        data: NDArray[np.uint8],
        length: int,
        out: NDArray[np.unsignedinteger],
        separator: bytes,
    ) -> tuple[int, NDArray[np.int64]]:
        """Write the ids of data[:length] to `out`; see `Encoder`."""
        if len(self._starts) < length + STARTS_SLACK:
            self._starts = np.empty(length + STARTS_SLACK, np.uint32)
        is_known = separator in self._special_tokens
        # One more, because a place is written before it is known to follow a separator.
        max_ends = 1 + (length // len(separator) if is_known else 0)
        if len(self._ends) < max_ends:
            self._ends = np.empty(max_ends, np.int64)
        table = self.known.table
        num_ids, num_ends = encode_window(
            table,
            self.merges,
            self._specials,
            self._work,
            self._special_ids,
            self._special_tokens.index(separator) if is_known else -1,
            data,
            length,
            self.piece_bytes,
            class_table(),
            self._starts,
            out,
            self._ends,
        )
        self.known.make_room(table)
        return num_ids, self._ends[:num_ends].copy()
