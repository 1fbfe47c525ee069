"""The tokenizer: text to token ids and back, and the choice between the two encoders."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from tokenizer.encoding.decode import IncrementalDecoder, token_bytes
from tokenizer.encoding.encoder import Encoder
from tokenizer.encoding.general import GeneralEncoder
from tokenizer.formats.loading import load_vocabulary
from tokenizer.formats.merge_ids import merge_ids
from tokenizer.formats.vocabulary import check_vocab, read_vocabulary_files
from tokenizer.patterns import is_gpt2_pattern
from tokenizer.special_tokens import END_OF_TEXT, check_encodable, check_special_tokens
from tokenizer.text.cuts import cut_rule
from tokenizer.text.stream import iter_safe_pieces

if TYPE_CHECKING:
    from tokenizer.encoding.fast import FastEncoder

FAST_BYTES = 2**19
"""From this size on the kernels are faster even if they must be loaded first (0.8 s, measured)."""

LOADED_FAST_BYTES = 2**10
"""From this size on the kernels, once loaded, are faster than the general encoder (measured)."""


class Tokenizer:
    """Encode text to token ids and decode ids to text, exactly.

    Special tokens are recognised in any text, as in CS336.

    >>> tokenizer = Tokenizer(dict(enumerate([bytes([b]) for b in range(256)] + [b"hi"])),
    ...                       [(b"h", b"i")], ["<|endoftext|>"])
    >>> tokenizer.encode("hi!<|endoftext|>")
    [256, 33, 257]
    >>> tokenizer.decode([256, 33, 257])
    'hi!<|endoftext|>'

    Attributes:
        vocab: The bytes of each token id, special tokens included.
        merges: The merges, first one first.
        special_tokens: The special tokens, as they were given.
        special_token_ids: The ids of the special tokens.
        pattern: The split pattern's name or regex.
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

        A token that is neither a byte, nor made by a merge, nor special is decoded but never
        encoded: GPT-2's end of text is one when `special_tokens` does not name it.

        Raises:
            ValueError: Vocabulary and merges do not fit together, a special token is empty,
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
        self._ids = ids
        self._merge_ids = merge_ids(ids, self.merges)
        self.special_token_ids = {token: ids[token.encode()] for token in self.special_tokens}
        self._is_fast = is_gpt2_pattern(pattern)
        self._fast_encoder: FastEncoder | None = None
        self._general_encoder = GeneralEncoder(
            self.vocab, self.merges, self.special_tokens, pattern=pattern
        )

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
            ValueError: The files are malformed or belong to different tokenizers. A token that no
                merge makes, such as GPT-2's end of text, must be among `special_tokens`.
        """
        vocab, merges = read_vocabulary_files(
            Path(vocab_path), Path(merges_path), special_tokens or ()
        )
        return cls(vocab, merges, special_tokens, pattern=pattern)

    @classmethod
    def from_folder(cls, folder: str | Path) -> Self:
        """Read a tokenizer's folder, ours or another tool's (`tokenizer.formats.loading`)."""
        loaded = load_vocabulary(Path(folder))
        tokenizer = cls.__new__(cls)  # the files were checked against each other
        tokenizer._set_up(loaded.vocab, loaded.merges, loaded.special_tokens, loaded.pattern)
        return tokenizer

    @property
    def vocab_size(self) -> int:
        """Return the number of token ids, special ones included."""
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

    def encode(self, text: str) -> list[int]:
        """Encode a text.

        Raises:
            ValueError: The text holds a lone surrogate, which UTF-8 cannot express.
        """
        return self.encode_bytes(_to_bytes(text))

    def encode_bytes(self, data: bytes) -> list[int]:
        """Encode bytes, which need not be UTF-8: `decode_bytes` gives exactly them back."""
        least = FAST_BYTES if self._fast_encoder is None else LOADED_FAST_BYTES
        if self._is_fast and len(data) >= least:
            return self._loaded_fast_encoder().encode(data)
        return self._general_encoder.encode(data)

    def encode_iterable(self, texts: Iterable[str]) -> Iterator[int]:
        """Encode a text that comes in pieces, cut anywhere, such as a file's lines.

        The ids are those of the joined text. Memory is bounded by the longest piece and the longest
        stretch without a safe cut (`tokenizer.text.cuts`).
        """
        rule = cut_rule(special_tokens=self.special_tokens, pattern=self.pattern)
        for piece in iter_safe_pieces(map(_to_bytes, texts), rule):
            yield from self.encode_bytes(piece)

    def window_encoders(self, number: int) -> list[Encoder]:
        """Return encoders for windows of a file, one for each of so many threads."""
        if not self._is_fast:
            return [self._general_encoder] * number
        first = self._loaded_fast_encoder()
        return [first.twin() for _ in range(number)]

    def decode(self, token_ids: Iterable[int]) -> str:
        """Decode ids to text, with U+FFFD for bytes that are not UTF-8.

        Raises:
            ValueError: An id is not in the vocabulary.
        """
        return self.decode_bytes(token_ids).decode("utf-8", errors="replace")

    def decode_bytes(self, token_ids: Iterable[int]) -> bytes:
        """Decode ids to exactly the bytes that were encoded; errors as in `decode`."""
        return b"".join([token_bytes(self.vocab, token_id) for token_id in token_ids])

    def incremental_decoder(self) -> IncrementalDecoder:
        """Return a decoder that takes ids one at a time and never shows half a character."""
        return IncrementalDecoder(self.vocab)

    def _loaded_fast_encoder(self) -> "FastEncoder":
        if self._fast_encoder is None:
            # Numba takes half a second to import and start, so short texts do without.
            from tokenizer.encoding.fast import FastEncoder

            self._fast_encoder = FastEncoder(self._ids, self._merge_ids, self.special_tokens)
        return self._fast_encoder


def _to_bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        check_encodable(text, what="the text")
        raise
