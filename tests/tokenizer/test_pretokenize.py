"""Pretokens: nothing is lost, special tokens are cut out, invalid bytes are kept."""

import pytest
import regex
from hypothesis import given

from tests.strategies import byte_strings, special_token_lists, texts
from tokenizer.patterns import PATTERNS
from tokenizer.pretokenize import iter_pretokens, split_text
from tokenizer.special_tokens import compile_special_tokens, cut_at_special_tokens


@given(byte_strings(), special_token_lists())
def test_pretokens_and_special_tokens_joined_are_the_data(data: bytes, special: list[str]) -> None:
    """Every byte is in exactly one pretoken or special token, for any pattern."""
    for pattern in PATTERNS:
        joined = b""
        compiled = compile_special_tokens(special)
        for segment, special_token in cut_at_special_tokens(data, compiled):
            joined += b"".join(iter_pretokens(segment, pattern=pattern))
            joined += special_token or b""
        assert joined == data


@given(texts())
def test_valid_text_is_cut_as_its_characters_are(text: str) -> None:
    """The byte form of a valid text has the pretokens that `regex` finds in its characters."""
    for pattern, expression in PATTERNS.items():
        expected = [match.encode() for match in regex.findall(expression, text)]
        assert list(iter_pretokens(text.encode(), pattern=pattern)) == expected


def test_invalid_bytes_are_characters_of_their_own() -> None:
    """An invalid byte is like punctuation: it separates words, and takes the space before it."""
    pretokens = list(iter_pretokens(b"ab\xffcd \xc3\xc3 \xc3\xa9", pattern="gpt2"))
    assert pretokens == [b"ab", b"\xff", b"cd", b" \xc3\xc3", b" \xc3\xa9"]


def test_contractions_are_taken_by_prefix() -> None:
    """A contraction is a pretoken also when its word continues, as in GPT-2; in lower case only."""
    assert list(iter_pretokens(b"it's 'sun IT'S", pattern="gpt2")) == [
        *(b"it", b"'s", b" '", b"sun", b" IT", b"'", b"S")
    ]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (r"[a-z]+", ["ab", " 12 ", "cd"]),
        (r"(a)(b)", ["ab", " 12 cd"]),
        (r"[^\S\n]*", ["a", "b", " ", "1", "2", " ", "c", "d"]),
        (r"(?=d)", ["ab 12 c", "d"]),
    ],
)
def test_patterns_with_gaps_groups_or_empty_matches_lose_nothing(
    expression: str, expected: list[str]
) -> None:
    """With a pattern that leaves text out, the pretokens are still the whole text."""
    assert split_text("ab 12 cd", regex.compile(expression)) == expected
