"""The fast encoder: GPT-2's split pattern, by the kernels."""

import threading
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tokenizer.encoding.encoder import id_dtype
from tokenizer.encoding.merge_tables import merge_tables
from tokenizer.kernels.boundaries import STARTS_SLACK, mark_window, special_arrays
from tokenizer.kernels.classes import class_table
from tokenizer.kernels.encode_table import (
    MAX_CACHED_BYTES,
    NUM_EMPTIED,
    SLOT_WORDS,
    EncodeTable,
    encode_window,
)
from tokenizer.kernels.first_use import announce_compile
from tokenizer.kernels.ranked_merges import SCAN_BYTES
from tokenizer.text.windows import PADDING_BYTES

_MIN_SLOTS, _MAX_SLOTS = 2**14, 2**20
"""Slots of the table: at most 32 MB a thread and 7 MB beside it, for 524,288 pretokens."""

_BYTES_PER_SLOT = 128
"""Text for each slot: 150 MB of web text have 450,000 different pretokens, for 2**20 slots."""


class FastEncoder:
    """Encode bytes with one vocabulary, by a table of pretokens that fills itself."""

    def __init__(
        self,
        vocab: Mapping[int, bytes],
        merges: Sequence[tuple[bytes, bytes]],
        special_tokens: Sequence[str] = (),
        *,
        expected_bytes: int = 0,
    ) -> None:
        """Build the tables; a few tens of milliseconds for 50,000 merges.

        The table of pretokens is made to fit `expected_bytes` of text. It also grows by itself, but
        forgets its pretokens when it does.

        Raises:
            ValueError: The vocabulary is larger than the kernels' tables can hold.
        """
        announce_compile(encode_window, "encoding")
        ids = {token: token_id for token_id, token in vocab.items()}
        self.merges = merge_tables(ids, merges)
        self._dtype = id_dtype(max(vocab) + 1)
        specials = sorted((token.encode("utf-8") for token in special_tokens), key=len)[::-1]
        self._special_tokens = specials  # the longest first
        self._specials = special_arrays(specials)
        self._special_ids = np.array([ids[token] for token in specials], dtype=np.int32)
        wanted = min(max(expected_bytes // _BYTES_PER_SLOT, _MIN_SLOTS), _MAX_SLOTS)
        self._take_memory(2 ** (wanted - 1).bit_length())

    def twin(self) -> Self:
        """Return an encoder for another thread: the same merges, its own table of pretokens."""
        other = copy(self)
        other._take_memory(len(self.table.short) // SLOT_WORDS)
        return other

    def _take_memory(self, num_slots: int) -> None:
        """Make what no two threads may use at the same time."""
        self.table = empty_table(num_slots)
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
        starts = self._starts
        count = mark_window(data, length, class_table(), self._specials, starts)
        is_known = separator in self._special_tokens
        # One more, because a place is written before it is known to follow a separator.
        max_ends = 1 + (length // len(separator) if is_known else 0)
        if len(self._ends) < max_ends:
            self._ends = np.empty(max_ends, np.int64)
        num_ids, num_ends = encode_window(
            self.table,
            self.merges,
            self._specials,
            self._special_ids,
            self._special_tokens.index(separator) if is_known else -1,
            data,
            starts,
            count,
            out,
            self._ends,
        )
        num_slots = len(self.table.short) // SLOT_WORDS
        if self.table.sizes[NUM_EMPTIED] > 0 and num_slots < _MAX_SLOTS:
            # It was full: an empty one of four times the size follows.
            self.table = empty_table(4 * num_slots)
        return num_ids, self._ends[:num_ends].copy()


def empty_table(num_slots: int) -> EncodeTable:
    """Return an empty table with so many slots, a power of two."""
    # One in 20 pretokens of web text is long. Half the slots are used at most, so the pool has room
    # for one id of each short pretoken. With GPT-2's vocabulary one in 10 has ids there; with 1,000
    # merges most have, and the table is emptied somewhat earlier.
    num_long = num_slots // 16
    return EncodeTable(
        sizes=np.zeros(5, np.int64),
        short=np.zeros(SLOT_WORDS * num_slots, np.uint64),
        long=np.zeros(4 * num_long, np.uint64),
        long_offsets=np.zeros(num_long + 1, np.int64),
        long_values=np.zeros(num_long, np.uint64),
        long_data=np.empty(32 * num_long + 4 * MAX_CACHED_BYTES, np.uint8),
        pool=np.empty(num_slots // 2 + 4 * MAX_CACHED_BYTES, np.int32),
        scratch_ids=np.empty(SCAN_BYTES, np.int32),
        scratch_ranks=np.empty(SCAN_BYTES, np.int32),
    )
