"""Decoding token ids one at a time, as a model produces them."""

import codecs
from collections.abc import Mapping


class IncrementalDecoder:
    r"""Turn token ids into text piece by piece, never showing half a character.

    The pieces joined are what `Tokenizer.decode` gives for all the ids.

    >>> decoder = IncrementalDecoder({0: b"\xc3", 1: b"\xa9"})
    >>> [decoder.push(0), decoder.push(1), decoder.finish()]
    ['', 'é', '']
    """

    def __init__(self, vocab: Mapping[int, bytes]) -> None:
        self._vocab = vocab
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        """Take the next id and return the characters that are complete now, often none.

        Raises:
            ValueError: The id is not in the vocabulary.
        """
        return self._decoder.decode(token_bytes(self._vocab, token_id))

    def finish(self) -> str:
        """Return what is left at the end, U+FFFD for half a character; a new text can follow."""
        return self._decoder.decode(b"", final=True)


def token_bytes(vocab: Mapping[int, bytes], token_id: int) -> bytes:
    """Return a token's bytes; `ValueError` names an id that is not in the vocabulary."""
    try:
        return vocab[token_id]
    except KeyError:
        raise ValueError(
            f"token id {token_id} is not in the vocabulary, whose ids are 0 to {len(vocab) - 1}"
        ) from None
