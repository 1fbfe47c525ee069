"""The incremental decoder: never half a character, and together what decoding at once gives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import byte_strings, texts
from tests.tokenizer.samples import train_sample
from tokenizer.encoding.decode import IncrementalDecoder
from tokenizer.encoding.tokenizer import Tokenizer

TOKENIZER = train_sample("gpt2", ["<|endoftext|>"])


@given(byte_strings())
def test_pieces_are_the_whole_even_of_invalid_bytes(data: bytes) -> None:
    """The pieces and the rest at the end join to what decode gives for all ids."""
    token_ids = TOKENIZER.encode_bytes(data)
    decoder = TOKENIZER.incremental_decoder()
    pieces = [decoder.push(token_id) for token_id in token_ids]
    assert "".join(pieces) + decoder.finish() == TOKENIZER.decode(token_ids)


@given(texts())
def test_no_piece_of_a_text_shows_half_a_character(text: str) -> None:
    """For a valid text every piece continues it, byte by byte, and nothing is left at the end."""
    decoder = IncrementalDecoder({byte: bytes([byte]) for byte in range(256)})
    shown = ""
    for byte in text.encode():
        shown += decoder.push(byte)
        assert text.startswith(shown)
    assert shown == text
    assert decoder.finish() == ""


@given(st.lists(byte_strings(9), min_size=2, max_size=3))
def test_a_finished_decoder_starts_afresh(parts: list[bytes]) -> None:
    """Half a character at the end of one text does not reach into the next."""
    decoder = TOKENIZER.incremental_decoder()
    for part in parts:
        shown = "".join(decoder.push(token_id) for token_id in TOKENIZER.encode_bytes(part))
        assert shown + decoder.finish() == part.decode(errors="replace")


def test_unknown_ids_are_named(small_tokenizer: Tokenizer) -> None:
    """An id that the vocabulary does not have is an error that names it."""
    with pytest.raises(ValueError, match="token id 340 is not in the vocabulary"):
        small_tokenizer.incremental_decoder().push(340)
