"""Own the fast encoder of GPT-2's split pattern: its tables, and bytes to arrays of ids."""

import operator
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tokenizer.config import NUM_BYTES
from tokenizer.kernels.boundaries import STARTS_SLACK, mark_window, special_arrays
from tokenizer.kernels.classes import class_table
from tokenizer.kernels.encode_table import (
    MAX_CACHED_BYTES,
    NUM_EMPTIED,
    SLOT_WORDS,
    WORD_BYTES,
    EncodeTable,
    encode_window,
)
from tokenizer.kernels.first_use import announce_compile
from tokenizer.kernels.ranked_merges import (
    EMPTY,
    FILTER_WORDS,
    MAX_RANK,
    MAX_TOKENS,
    SCAN_BYTES,
    Merges,
    enter_merges,
)
from tokenizer.text.windows import PADDING_BYTES

_MIN_SLOTS, _MAX_SLOTS = 2**14, 2**20
"""At most 32 MB a thread, and 7 MB beside it: 524,288 pretokens before it is emptied."""

_BYTES_PER_SLOT = 128
"""Of web text; 150 MB have 450,000 different pretokens, half as many as slots."""


class FastEncoder:
    """Encode bytes with one vocabulary; not to be used by two threads at once."""

    def __init__(
        self,
        vocab: Mapping[int, bytes],
        merges: Sequence[tuple[bytes, bytes]],
        special_tokens: Sequence[str] = (),
        *,
        expected_bytes: int = 0,
    ) -> None:
        """Build the tables; a few tens of milliseconds for 50,000 merges.

        `expected_bytes` of text are to be encoded: the table of pretokens is made to fit. It grows
        by itself too, but forgets what it knew when it does.

        Raises:
            ValueError: the vocabulary is larger than the kernels' tables can hold, or lacks a
                token.
        """
        announce_compile(encode_window, "encoding")
        ids = {token: token_id for token_id, token in vocab.items()}
        self.vocab_size = max(vocab, default=-1) + 1
        if self.vocab_size > MAX_TOKENS or len(merges) >= MAX_RANK:
            raise ValueError(
                f"a vocabulary of {self.vocab_size} ids and {len(merges)} merges is too large for "
                f"the fast encoder; it takes up to {MAX_TOKENS} ids"
            )
        self.dtype: np.dtype[np.unsignedinteger] = np.dtype(
            np.uint16 if self.vocab_size <= 2**16 else np.uint32
        )
        specials = sorted((token.encode("utf-8") for token in special_tokens), key=len)[::-1]
        self._specials = special_arrays(specials)
        self._special_tokens = specials
        self._special_ids = np.array([ids[token] for token in specials], dtype=np.int32)
        self.merges = _merge_tables(ids, merges)
        wanted = min(max(expected_bytes // _BYTES_PER_SLOT, _MIN_SLOTS), _MAX_SLOTS)
        self.table = empty_table(2 ** (wanted - 1).bit_length())
        self._starts = np.empty(0, np.uint32)
        self._ends = np.empty(0, np.int64)

    def twin(self) -> Self:
        """Return an encoder for another thread: the same merges, its own table of pretokens."""
        other = copy(self)
        other.table = empty_table(len(self.table.short) // SLOT_WORDS)
        other._starts, other._ends = np.empty(0, np.uint32), np.empty(0, np.int64)
        return other

    def encode_bytes(self, data: bytes) -> NDArray[np.unsignedinteger]:
        """Return the ids of a whole text, special tokens recognised; uint16 or uint32."""
        buffer = np.zeros(len(data) + PADDING_BYTES, np.uint8)
        buffer[: len(data)] = np.frombuffer(data, np.uint8)
        out = self.empty_output(len(data))
        num_ids, _ = self.encode_window(buffer, len(data), out)
        return out[:num_ids].copy()

    def empty_output(self, length: int) -> NDArray[np.unsignedinteger]:
        """Return an array that the ids of `length` bytes fit into."""
        return np.empty(length + WORD_BYTES, self.dtype)

    def encode_window(
        self,
        data: NDArray[np.uint8],
        length: int,
        out: NDArray[np.unsignedinteger],
        separator: bytes = b"",
    ) -> tuple[int, NDArray[np.int64]]:
        """Write the ids of data[:length] to `out`; return their number and the separators' ends.

        `data` has `PADDING_BYTES` more bytes. The array returned, the places in `out` after each
        special token `separator`, is used again by the next call.
        """
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
            # It was full: one of four times the size.
            self.table = empty_table(4 * num_slots)
        return num_ids, self._ends[:num_ends]


def _merge_tables(ids: Mapping[bytes, int], merges: Sequence[tuple[bytes, bytes]]) -> Merges:
    firsts, seconds = [pair[0] for pair in merges], [pair[1] for pair in merges]
    left, right, merged = (
        np.fromiter(map(ids.__getitem__, tokens), np.int32, len(merges))
        for tokens in (firsts, seconds, map(operator.add, firsts, seconds))
    )
    byte_ids = np.array([ids[bytes([byte])] for byte in range(NUM_BYTES)], dtype=np.int32)
    num_slots = 2 ** int(np.ceil(np.log2(2 * len(merges) + 16)))
    slots = np.full(num_slots, EMPTY, np.uint64)
    filter_bits = np.zeros(FILTER_WORDS, np.uint64)
    enter_merges(slots, filter_bits, left, right)
    byte_of_id = np.full(max(ids.values()) + 1, -1, np.int32)
    byte_of_id[byte_ids] = np.arange(NUM_BYTES)
    first, second = byte_of_id[left], byte_of_id[right]
    ranks = np.flatnonzero((first >= 0) & (second >= 0))
    byte_ranks = np.full(NUM_BYTES * NUM_BYTES, MAX_RANK, np.int32)
    byte_ranks[first[ranks] << 8 | second[ranks]] = ranks
    return Merges(
        byte_ids=byte_ids,
        byte_ranks=byte_ranks,
        slots=slots,
        filter_bits=filter_bits,
        left_ids=left,
        right_ids=right,
        merged_ids=merged,
    )


def empty_table(num_slots: int) -> EncodeTable:
    """Return an empty table with so many slots, a power of two."""
    # Of web text's pretokens one in 20 is long. Half the slots are used at most, so the pool has
    # an id for each short one: with GPT-2's vocabulary one in 10 has ids there; with 1,000 merges
    # most have, and the table is emptied somewhat earlier.
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
