"""The examples in the docstrings: they run, and give what they say."""

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize(
    "name",
    [
        "encoding.decode",
        "encoding.merging",
        "encoding.tokenizer",
        "formats.byte_level",
        "pretokenize",
        "reference",
    ],
)
def test_examples_are_true(name: str) -> None:
    """Every example of the module has the result that is written under it."""
    results = doctest.testmod(import_module(f"tokenizer.{name}"))
    assert results.attempted > 0
    assert results.failed == 0
