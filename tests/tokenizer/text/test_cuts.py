"""Safe cuts: a text cut there has the pretokens of the whole text, with any named pattern."""

import sys

import pytest
import regex
from hypothesis import given

from tests.strategies import byte_strings, special_token_lists
from tokenizer.patterns import PATTERNS
from tokenizer.pretokenize import iter_pretokens
from tokenizer.text.cuts import cut_rule, first_special_cut, first_whitespace_cut, last_cut


@pytest.mark.parametrize("pattern", PATTERNS)
@given(data=byte_strings(), special_tokens=special_token_lists())
def test_safe_cuts_change_no_pretoken(pattern: str, data: bytes, special_tokens: list[str]) -> None:
    """Any bytes, cut in two at any safe place, have the pretokens of the whole."""
    rule = cut_rule(special_tokens=special_tokens, pattern=pattern)

    def pretokens(part: bytes) -> list[bytes]:
        return list(iter_pretokens(part, pattern=pattern, special_tokens=special_tokens))

    whole = pretokens(data)
    for place in range(1, len(data)):
        cuts = [
            first_whitespace_cut(data, place, place + 1, rule),
            first_special_cut(data, place - 1, place, rule),
            last_cut(data, place - 1, place, rule),
        ]
        assert set(cuts) <= {None, place}
        assert cuts[2] == (cuts[0] or cuts[1])
        if cuts[2] is not None:
            assert pretokens(data[:place]) + pretokens(data[place:]) == whole


@pytest.mark.parametrize(
    ("pattern", "expected"), [("gpt2", [2, 5]), ("cl100k", [5]), ("o200k", [5]), (r"\w+", [])]
)
def test_each_pattern_has_its_whitespace(pattern: str, expected: list[int]) -> None:
    """GPT-2's pattern takes any ASCII whitespace, the other names the space, a regex nothing."""
    data = b"a!\n b c\xc2\xa0 d"
    rule = cut_rule(special_tokens=[], pattern=pattern)
    cuts = [first_whitespace_cut(data, place, place + 1, rule) for place in range(len(data))]
    assert [cut for cut in cuts if cut is not None] == expected


def test_no_cut_is_after_wide_whitespace() -> None:
    """Whitespace in a row is one pretoken up to its last character, whatever `regex` calls so."""
    characters = "".join(map(chr, [*range(0x80, 0xD800), *range(0xE000, sys.maxunicode + 1)]))
    wide = regex.findall(r"\s", characters)
    assert {"\x85", "\u2000", "\u3000"} <= set(wide)
    for pattern in PATTERNS:
        rule = cut_rule(special_tokens=[], pattern=pattern)
        for data in [f"{before}{space}  a".encode() for space in wide for before in ("x", "")]:
            assert first_whitespace_cut(data, 0, len(data), rule) is None
            assert last_cut(data, 0, len(data) - 1, rule) is None
