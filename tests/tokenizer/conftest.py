"""Fixtures of the tokenizer's tests: a small trained tokenizer, and GPT-2's own."""

from pathlib import Path

import pytest
import tiktoken
from hypothesis import settings

from tests.tokenizer.samples import END_OF_TEXT, tiktoken_encoding, train_sample
from tokenizer.encoding.tokenizer import Tokenizer

# A machine that is busy with something else is no failure of an example.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def small_tokenizer() -> Tokenizer:
    """A tokenizer of 340 tokens with the GPT-2 pattern and one special token."""
    return train_sample("gpt2", [END_OF_TEXT])


@pytest.fixture(scope="session")
def gpt2_tokenizer(shared_data: Path) -> Tokenizer:
    """GPT-2's tokenizer, read from its own two files."""
    folder = shared_data / "gpt2"
    return Tokenizer.from_files(folder / "vocab.json", folder / "merges.txt", [END_OF_TEXT])


@pytest.fixture(scope="session")
def gpt2_tiktoken(gpt2_tokenizer: Tokenizer) -> tiktoken.Encoding:
    """Give tiktoken's encoding of the same vocabulary."""
    return tiktoken_encoding(gpt2_tokenizer)
