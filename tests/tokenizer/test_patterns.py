"""Split patterns: the same cuts as tiktoken's, and refusals that name what is allowed."""

import pytest
import regex
import tiktoken
from hypothesis import given
from tiktoken_ext import openai_public  # type: ignore[import-untyped] # ships no types

from tests.strategies import texts
from tokenizer.patterns import PATTERNS, resolve_pattern
from tokenizer.pretokenize import iter_pretokens

BYTE_RANKS = {bytes([byte]): byte for byte in range(256)}
POSSESSIVE_GPT2 = openai_public.r50k_pat_str


def tiktoken_cuts(pattern: str, text: str) -> list[bytes]:
    """Cut a text as tiktoken does, by a vocabulary of single bytes and every pretoken of ours."""
    words = set(iter_pretokens(text.encode(), pattern=pattern))
    ranks = dict(BYTE_RANKS)
    for word in sorted(words):
        ranks.setdefault(word, len(ranks))
    encoding = tiktoken.Encoding(
        "cuts", pat_str=PATTERNS[pattern], mergeable_ranks=ranks, special_tokens={}
    )
    return encoding.decode_tokens_bytes(encoding.encode_ordinary(text))


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=texts(assigned=True))
def test_texts_are_cut_as_tiktoken_cuts_them(pattern: str, text: str) -> None:
    """A text whose every pretoken is a token comes out of tiktoken as exactly our pretokens."""
    assert tiktoken_cuts(pattern, text) == list(iter_pretokens(text.encode(), pattern=pattern))


@given(texts())
def test_plain_and_possessive_forms_cut_alike(text: str) -> None:
    """GPT-2's original form and tiktoken's faster one have the same matches."""
    assert regex.findall(PATTERNS["gpt2"], text) == regex.findall(POSSESSIVE_GPT2, text)


def test_names_and_expressions_are_resolved() -> None:
    """A name gives its regex, a regex itself."""
    assert resolve_pattern("gpt2") == PATTERNS["gpt2"]
    assert resolve_pattern(r"\w+|\W") == r"\w+|\W"


@pytest.mark.parametrize("wrong", ["", "gpt4", "GPT2", "(", r"\p{Nonsense}", "a{2,1}"])
def test_what_is_no_pattern_is_refused(wrong: str) -> None:
    """A misspelt name or a broken regex is an error that lists the names."""
    with pytest.raises(ValueError, match="gpt2, cl100k, o200k"):
        resolve_pattern(wrong)
