"""The general encoder: any split pattern, in Python; it starts at once, with nothing to compile."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import regex
from numpy.typing import NDArray

from tokenizer.encoding.merging import merge_pretoken
from tokenizer.formats.merge_ids import merge_ids
from tokenizer.patterns import resolve_pattern
from tokenizer.pretokenize import split_text
from tokenizer.special_tokens import compile_special_tokens, cut_at_special_tokens

if TYPE_CHECKING:
    from tokenizer.kernels.encoding.ranked_merges import Merges


class GeneralEncoder:
    """Encode bytes with one vocabulary, by the `regex` module and a cache of pretokens.

    One object serves any number of threads: Python's lock lets one of them run at a time.
    """

    def __init__(
        self,
        vocab: Mapping[int, bytes],
        merges: Sequence[tuple[bytes, bytes]],
        special_tokens: Sequence[str] = (),
        *,
        pattern: str = "gpt2",
    ) -> None:
        self._ids = {token: token_id for token_id, token in vocab.items()}
        self._special = compile_special_tokens(special_tokens)
        self._regex = regex.compile(resolve_pattern(pattern))
        self._cache = PretokenCache(self._ids, merges)

    def encode(self, data: bytes) -> list[int]:
        """Return the token ids of a whole text."""
        token_ids, _ = self._encode(data, b"")
        return token_ids

    def encode_window(
        self,
        data: NDArray[np.uint8],
        length: int,
        out: NDArray[np.unsignedinteger],
        separator: bytes,
    ) -> tuple[int, NDArray[np.int64]]:
        """Write the ids of data[:length] to `out`; see `Encoder`."""
        token_ids, ends = self._encode(data[:length].tobytes(), separator)
        out[: len(token_ids)] = token_ids
        return len(token_ids), np.array(ends, dtype=np.int64)

    def _encode(self, data: bytes, separator: bytes) -> tuple[list[int], list[int]]:
        """Return the token ids, and the places in them after each special token `separator`."""
        token_ids: list[int] = []
        ends: list[int] = []
        for segment, special_token in cut_at_special_tokens(data, self._special):
            pretokens = split_text(segment.decode("utf-8", "surrogateescape"), self._regex)
            token_ids.extend(chain.from_iterable(map(self._cache.__getitem__, pretokens)))
            if special_token is not None:
                token_ids.append(self._ids[special_token])
                if special_token == separator:
                    ends.append(len(token_ids))
        return token_ids, ends


class PretokenCache(dict[str, tuple[int, ...]]):
    """The ids of pretokens, merged when first asked for; bounded."""

    MAX_ENTRIES = 1 << 18
    """41 MiB with words of 4 to 12 letters (measured)."""

    MAX_LENGTH = 64
    """Longer pretokens rarely come back, so they are not kept."""

    LONG_LENGTH = 1 << 17
    """Longer pretokens are merged by the kernels: half a second here, less than loading those."""

    def __init__(self, ids: Mapping[bytes, int], merges: Sequence[tuple[bytes, bytes]]) -> None:
        super().__init__()
        self._ids = ids
        self._merges = merges
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}

    def __missing__(self, pretoken: str) -> tuple[int, ...]:
        data = pretoken.encode("utf-8", "surrogateescape")
        if len(pretoken) > self.LONG_LENGTH:
            return tuple(self._merge_long(data))
        token_ids = tuple([self._ids[token] for token in merge_pretoken(data, self._ranks)])
        if len(pretoken) <= self.MAX_LENGTH:
            if len(self) >= self.MAX_ENTRIES:
                self.clear()
            self[pretoken] = token_ids
        return token_ids

    def _merge_long(self, pretoken: bytes) -> list[int]:
        """Merge a pretoken in time in proportion to its length."""
        from tokenizer.kernels.encoding.listed_merges import merge_by_lists
        from tokenizer.kernels.first_use import announce_compile

        announce_compile(merge_by_lists, "encoding")
        data = np.frombuffer(pretoken, dtype=np.uint8).copy()  # as kernels want it: writable
        token_ids = np.empty(len(data), np.int32)
        num_tokens = merge_by_lists(self._merge_tables, data, 0, len(data), token_ids)
        listed: list[int] = token_ids[:num_tokens].tolist()
        return listed

    @cached_property
    def _merge_tables(self) -> "Merges":
        from tokenizer.encoding.merge_tables import merge_tables

        return merge_tables(self._ids, merge_ids(self._ids, self._merges))
