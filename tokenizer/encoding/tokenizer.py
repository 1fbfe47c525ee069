"""Own the tokenizer: text to token ids and back, for texts in memory."""

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import regex
from numpy.typing import NDArray

from tokenizer.encoding.decode import IncrementalDecoder, token_bytes
from tokenizer.encoding.merging import PretokenCache
from tokenizer.formats.vocabulary import check_vocab, load_vocabulary, read_vocabulary_files
from tokenizer.patterns import PATTERNS, resolve_pattern
from tokenizer.pretokenize import split_text
from tokenizer.special_tokens import (
    END_OF_TEXT,
    check_encodable,
    check_special_tokens,
    compile_special_tokens,
    cut_at_special_tokens,
)
from tokenizer.text.stream import iter_safe_pieces

if TYPE_CHECKING:
    from tokenizer.encoding.fast import FastEncoder

FAST_BYTES = 2**19
"""From here on the kernels are faster even when they have yet to be loaded (0.8 s, measured)."""

LOADED_FAST_BYTES = 2**10
"""From here on the kernels, once loaded, are faster than the cache of pretokens (measured)."""

AllowedSpecial = Literal["all"] | AbstractSet[str]
DisallowedSpecial = Literal["all"] | Collection[str]


class Tokenizer:
    """Encode text to token ids and decode ids to text, exactly.

    Special tokens given here are recognised in any text by default, as in CS336; tiktoken refuses
    them by default, which `allowed_special=set()` does here too.

    >>> tokenizer = Tokenizer(dict(enumerate([bytes([b]) for b in range(256)] + [b"hi"])),
    ...                       [(b"h", b"i")], ["<|endoftext|>"])
    >>> tokenizer.encode("hi!<|endoftext|>")
    [256, 33, 257]
    >>> tokenizer.decode([256, 33, 257])
    'hi!<|endoftext|>'

    Attributes:
        vocab: the bytes of each token id, special tokens included.
        merges: the merges, first one first.
        special_tokens: the special tokens, as they were given.
        special_token_ids: their ids.
        pattern: the split pattern's name or regex.
    """

    def __init__(
        self,
        vocab: Mapping[int, bytes],
        merges: Sequence[tuple[bytes, bytes]],
        special_tokens: Sequence[str] | None = None,
        *,
        pattern: str = "gpt2",
    ) -> None:
        """Take a vocabulary; special tokens that it does not have get the ids after its last.

        A token that is neither a byte, nor made by a merge, nor special decodes, and is never
        encoded: GPT-2's end of text is one when `special_tokens` does not name it.

        Raises:
            ValueError: vocabulary and merges do not fit together, a special token is empty,
                repeated or a single byte, or the pattern is unknown.
        """
        check_special_tokens(special_tokens or ())
        check_vocab(vocab, merges)
        self._set_up(vocab, merges, special_tokens or (), pattern)

    def _set_up(
        self,
        vocab: Mapping[int, bytes],
        merges: Sequence[tuple[bytes, bytes]],
        special_tokens: Sequence[str],
        pattern: str,
    ) -> None:
        """Take what has been checked."""
        self.special_tokens = tuple(special_tokens)
        self.merges = list(merges)
        self.pattern = pattern
        ids = {token: token_id for token_id, token in vocab.items()}
        for token in self.special_tokens:
            ids.setdefault(token.encode("utf-8"), len(ids))
        self.vocab = {token_id: token for token, token_id in ids.items()}
        self.special_token_ids = {token: ids[token.encode()] for token in self.special_tokens}
        self._ids = ids
        self._regex = regex.compile(resolve_pattern(pattern))
        self._fast_encoder: FastEncoder | None = None
        self._fast_lock = threading.Lock()
        self._compiled_special = compile_special_tokens(self.special_tokens)
        ranks = {pair: rank for rank, pair in enumerate(self.merges)}
        self._cache = PretokenCache(ids, ranks, self._merge_long)

    @classmethod
    def from_files(
        cls,
        vocab_path: str | Path,
        merges_path: str | Path,
        special_tokens: Sequence[str] | None = None,
        *,
        pattern: str = "gpt2",
    ) -> Self:
        """Read GPT-2's `vocab.json` and `merges.txt`; ids stay as they are in the files.

        Raises:
            ValueError: the files are malformed or belong to different tokenizers. A token that no
                merge makes, such as GPT-2's end of text, must be among `special_tokens`.
        """
        vocab, merges = read_vocabulary_files(
            Path(vocab_path), Path(merges_path), special_tokens or ()
        )
        return cls(vocab, merges, special_tokens, pattern=pattern)

    @classmethod
    def from_folder(cls, folder: str | Path) -> Self:
        """Read a folder that `tokenizer.formats.vocabulary.save_vocabulary` wrote."""
        loaded = load_vocabulary(Path(folder))
        tokenizer = cls.__new__(cls)  # the files were checked against each other
        tokenizer._set_up(loaded.vocab, loaded.merges, loaded.special_tokens, loaded.pattern)
        return tokenizer

    @property
    def vocab_size(self) -> int:
        """Count the token ids, special ones included."""
        return len(self.vocab)

    @property
    def eot_id(self) -> int:
        """Return the id of `<|endoftext|>`; `ValueError` when it is no special token here."""
        if END_OF_TEXT not in self.special_token_ids:
            raise ValueError(
                f"{END_OF_TEXT!r} is not among the special tokens {list(self.special_tokens)}"
            )
        return self.special_token_ids[END_OF_TEXT]

    def token_num_bytes(self) -> NDArray[np.int64]:
        """Return the length in bytes of each token, indexed by id."""
        sizes = [len(self.vocab[token_id]) for token_id in range(len(self.vocab))]
        return np.array(sizes, dtype=np.int64)

    def encode(
        self,
        text: str,
        *,
        allowed_special: AllowedSpecial = "all",
        disallowed_special: DisallowedSpecial = "all",
    ) -> list[int]:
        """Encode a text.

        Args:
            text: any text that UTF-8 can express, so no lone surrogates.
            allowed_special: the special tokens that are recognised, by default all.
            disallowed_special: the special tokens that are refused, by default ("all") those not
                allowed. What is neither allowed nor disallowed is encoded like other text.

        Raises:
            ValueError: the text holds a disallowed special token or a lone surrogate.
        """
        return self.encode_bytes(
            _to_bytes(text), allowed_special=allowed_special, disallowed_special=disallowed_special
        )

    def encode_bytes(
        self,
        data: bytes,
        *,
        allowed_special: AllowedSpecial = "all",
        disallowed_special: DisallowedSpecial = "all",
    ) -> list[int]:
        """Encode bytes, which need not be UTF-8: `decode_bytes` gives exactly them back."""
        if self._is_fast_for(len(data), allowed_special, disallowed_special):
            token_ids: list[int] = self._encode_fast(data).tolist()
            return token_ids
        groups = self._iter_id_groups(data, allowed_special, disallowed_special)
        return list(chain.from_iterable(chain.from_iterable(groups)))

    def encode_iterable(
        self,
        texts: Iterable[str],
        *,
        allowed_special: AllowedSpecial = "all",
        disallowed_special: DisallowedSpecial = "all",
    ) -> Iterator[int]:
        """Encode a text that comes in pieces, cut anywhere, such as a file's lines.

        Memory is bounded by the longest piece and the longest stretch without whitespace (for a
        regex of the user's: without a special token); the ids are those of the joined text.
        """
        special, _ = self._select_special(allowed_special, disallowed_special)
        pieces = iter_safe_pieces(texts, pattern=self._regex.pattern, special_tokens=special)
        for piece in pieces:
            yield from self.encode(
                piece, allowed_special=allowed_special, disallowed_special=disallowed_special
            )

    def encode_batch(
        self,
        texts: Iterable[str],
        *,
        allowed_special: AllowedSpecial = "all",
        disallowed_special: DisallowedSpecial = "all",
    ) -> list[list[int]]:
        """Encode several texts, each on its own."""
        return [
            self.encode(
                text, allowed_special=allowed_special, disallowed_special=disallowed_special
            )
            for text in texts
        ]

    def count_tokens(
        self,
        text: str,
        *,
        allowed_special: AllowedSpecial = "all",
        disallowed_special: DisallowedSpecial = "all",
    ) -> int:
        """Count a text's tokens without making a list of ids; errors as in `encode`."""
        data = _to_bytes(text)
        if self._is_fast_for(len(data), allowed_special, disallowed_special):
            return len(self._encode_fast(data))
        groups = self._iter_id_groups(data, allowed_special, disallowed_special)
        return sum(map(len, chain.from_iterable(groups)))

    def decode(self, token_ids: Iterable[int]) -> str:
        """Decode ids to text, with U+FFFD for bytes that are not UTF-8.

        Raises:
            ValueError: an id is not in the vocabulary.
        """
        return self.decode_bytes(token_ids).decode("utf-8", errors="replace")

    def decode_bytes(self, token_ids: Iterable[int]) -> bytes:
        """Decode ids to exactly the bytes that were encoded; errors as in `decode`."""
        return b"".join([token_bytes(self.vocab, token_id) for token_id in token_ids])

    def incremental_decoder(self) -> IncrementalDecoder:
        """Return a decoder that takes ids one at a time and never shows half a character."""
        return IncrementalDecoder(self.vocab)

    def _is_fast_for(
        self, num_bytes: int, allowed: AllowedSpecial, disallowed: DisallowedSpecial
    ) -> bool:
        """Tell whether the kernels can do this text and, with their loading, are done sooner."""
        least = FAST_BYTES if self._fast_encoder is None else LOADED_FAST_BYTES
        is_plain = allowed == "all" and disallowed == "all"
        return num_bytes >= least and is_plain and self._regex.pattern == PATTERNS["gpt2"]

    def _encode_fast(self, data: bytes) -> NDArray[np.unsignedinteger]:
        # The kernels give up the GIL, and the encoder's tables are for one thread at a time.
        with self._fast_lock:
            return self._load_fast_encoder().encode_bytes(data)

    def _merge_long(self, pretoken: bytes) -> list[int]:
        """Merge a pretoken of any pattern in time in proportion to its length."""
        from tokenizer.kernels.listed_merges import merge_by_lists

        with self._fast_lock:
            merges = self._load_fast_encoder().merges
        data = np.frombuffer(pretoken, dtype=np.uint8).copy()
        token_ids = np.empty(len(data), np.int32)
        num_tokens = merge_by_lists(merges, data, 0, len(data), token_ids)
        listed: list[int] = token_ids[:num_tokens].tolist()
        return listed

    def _load_fast_encoder(self) -> "FastEncoder":
        if self._fast_encoder is None:
            # Numba takes half a second to import and start, so short texts do without.
            from tokenizer.encoding.fast import FastEncoder

            self._fast_encoder = FastEncoder(self.vocab, self.merges, self.special_tokens)
        return self._fast_encoder

    def _iter_id_groups(
        self, data: bytes, allowed: AllowedSpecial, disallowed: DisallowedSpecial
    ) -> Iterator[Iterable[tuple[int, ...]]]:
        """Yield, for each stretch between special tokens and for each of those, ids by pretoken."""
        special, refused = self._select_special(allowed, disallowed)
        compiled = (
            self._compiled_special
            if special == self.special_tokens
            else compile_special_tokens(special)
        )
        for segment, special_token in cut_at_special_tokens(data, compiled):
            pretokens = split_text(segment.decode("utf-8", "surrogateescape"), self._regex)
            yield map(self._cache.__getitem__, pretokens)
            if special_token is not None:
                if special_token in refused:
                    raise _refusal(special_token)
                yield ((self._ids[special_token],),)

    def _select_special(
        self, allowed: AllowedSpecial, disallowed: DisallowedSpecial
    ) -> tuple[tuple[str, ...], frozenset[bytes]]:
        """Return the special tokens to look for, and the bytes of those that are refused."""
        if allowed == "all" and disallowed == "all":
            return self.special_tokens, frozenset()
        allowed_set = set(self.special_tokens if allowed == "all" else allowed)
        unknown = sorted(allowed_set.difference(self.special_tokens))
        if unknown:
            raise ValueError(
                f"allowed_special {unknown[0]!r} is not among the special tokens "
                f"{list(self.special_tokens)}"
            )
        refused = set(self.special_tokens) if disallowed == "all" else set(disallowed)
        refused -= allowed_set
        check_special_tokens(tuple(refused))
        return (*allowed_set, *refused), frozenset(token.encode() for token in refused)


def _to_bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        check_encodable(text, what="the text")
        raise


def _refusal(special_token: bytes) -> ValueError:
    text = special_token.decode("utf-8")
    return ValueError(
        f"the text holds the special token {text!r}, which is not allowed; allow it with "
        f"allowed_special={{{text!r}}}, or encode it as plain text with disallowed_special=()"
    )
