"""The examples in the docstrings: they run, and give what they say."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import tokenizer

PACKAGE = Path(tokenizer.__file__).parent
WITH_EXAMPLES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_are_true(name: str) -> None:
    """Every example of the module has the result that is written under it."""
    results = doctest.testmod(import_module(name))
    assert results.attempted > 0
    assert results.failed == 0
