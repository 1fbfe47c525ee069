"""Bytes as printable characters: none is lost, and their order is GPT-2's."""

from pathlib import Path

import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from tokenizer.formats.byte_level import BYTE_ORDER, bytes_to_characters, characters_to_bytes
from tokenizer.formats.gpt2 import read_vocab


@given(st.binary())
def test_bytes_survive_as_characters(data: bytes) -> None:
    """Each byte is one printable character, never a space or line end, and comes back."""
    text = bytes_to_characters(data)
    assert len(text) == len(data)
    assert text.isprintable()
    assert not any(character.isspace() for character in text)
    assert characters_to_bytes(text) == data


def test_byte_order_is_that_of_gpt2(shared_data: Path) -> None:
    """GPT-2 numbers the bytes by their characters, as Hugging Face's alphabet does."""
    vocab = read_vocab(shared_data / "gpt2" / "vocab.json")
    assert [vocab[index] for index in range(256)] == [bytes([byte]) for byte in BYTE_ORDER]
    characters = [bytes_to_characters(bytes([byte])) for byte in BYTE_ORDER]
    assert characters == sorted(characters)


def test_the_characters_are_those_of_hugging_face() -> None:
    """The alphabet in the order of its code points is the bytes in our order."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    assert [bytes_to_characters(bytes([byte])) for byte in BYTE_ORDER] == alphabet
    text = "é®¬\u00ad\u0100 \x7f"
    [(written, _)] = tokenizers.pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=False
    ).pre_tokenize_str(text)
    assert bytes_to_characters(text.encode()) == written
