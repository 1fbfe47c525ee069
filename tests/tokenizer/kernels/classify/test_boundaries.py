"""The boundary algebra: against `regex`, against a scalar twin, and each patch on its own."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import byte_strings, special_token_lists
from tokenizer.kernels.classify.boundaries import (
    READ_AHEAD_BYTES,
    SPECIAL_FLAG,
    STARTS_SLACK,
    mark_piece,
    mark_segment,
    mark_window,
    special_arrays,
)
from tokenizer.kernels.classify.classes import DIGIT, LETTER, WHITESPACE, class_table
from tokenizer.kernels.intrinsics import BLOCK_BYTES
from tokenizer.pretokenize import iter_pretokens
from tokenizer.special_tokens import compile_special_tokens, cut_at_special_tokens

# The 64-byte blocks end at every place of these strings once they are shifted.
HARD = [
    "it's we'll they've I'm 'sun 'llama ''s '' 's 'S 'LL don't'll",
    "x'sz x'tty x'llz x'vez x'rer x''dd",  # letters follow, so the contraction's end is a start
    "a  b   c\n\nd \n e\t\tf \u00a0 g\u3000\u3000h\u2028 i \u3000",
    "1st 2nd ½ Ⅷ²a 12.5% x٣y a1b2 \u0301a",
    "世界 中한 жא naïve 👍🏽 \u200d\ufeff \x85\x1c\x1d ... !!!",
    "<|e|>'s<|e|> <|e|>\n\n<|e|>re 'r<|e|>e '<|e|>ll 'l<|e|>l",
]


def marked(data: bytes, special_tokens: list[str]) -> tuple[list[bytes], list[bytes]]:
    """Return (pretokens, special tokens) as the kernel cuts the text."""
    longest_first = sorted((token.encode() for token in special_tokens), key=len, reverse=True)
    # The bytes after the text must not matter, so they are hostile.
    padded = np.frombuffer(data + b"s\xa0" * READ_AHEAD_BYTES, np.uint8)
    starts = np.zeros(len(data) + STARTS_SLACK, np.uint32)
    count = mark_window(padded, len(data), class_table(), special_arrays(longest_first), starts)
    places = [int(start & ~SPECIAL_FLAG) for start in starts[: count + 1]]
    parts = [data[places[i] : places[i + 1]] for i in range(count)]
    is_special = [bool(start & SPECIAL_FLAG) for start in starts[:count]]
    pretokens = [part for part, special in zip(parts, is_special, strict=True) if not special]
    specials = [part for part, special in zip(parts, is_special, strict=True) if special]
    return pretokens, specials


def twin(data: bytes) -> list[int]:
    """Return the starts by the formula, one character at a time: the scalar twin of the kernel."""
    text = data.decode("utf-8", "surrogateescape")
    classes = [int(class_table()[ord(character)]) for character in text]
    sizes = [len(character.encode("utf-8", "surrogateescape")) for character in text]

    def is_class(at: int, value: int) -> bool:
        return 0 <= at < len(text) and classes[at] == value

    starts = set()
    for at in range(len(text)):
        white, white_before = is_class(at, WHITESPACE), is_class(at - 1, WHITESPACE)
        white_after = is_class(at + 1, WHITESPACE) or at + 1 == len(text)
        changes = [is_class(at, kind) != is_class(at - 1, kind) for kind in (LETTER, DIGIT)]
        if (
            (white and (not white_before or not white_after))
            or (not white and white_before and text[at - 1] != " ")
            or (not white and not white_before and any(changes))
            or at == 0
        ):
            starts.add(at)
    for at in sorted(starts):
        if text[at] != "'" or at not in starts:
            continue
        following = text[at + 1 : at + 3]
        length = 3 if following in ("ll", "ve", "re") else 2 if following[:1] in list("sdmt") else 0
        if length:
            starts.discard(at + 1)
            if at + length < len(text):
                starts.add(at + length)
    offsets = np.cumsum([0, *sizes])
    return sorted(int(offsets[at]) for at in starts)


@given(data=byte_strings(60), special_tokens=special_token_lists())
def test_pretokens_are_those_of_regex(data: bytes, special_tokens: list[str]) -> None:
    """Any bytes, with special tokens that overlap, are cut as the reference cuts them."""
    pretokens, specials = marked(data, special_tokens)
    assert pretokens == list(iter_pretokens(data, pattern="gpt2", special_tokens=special_tokens))
    segments = cut_at_special_tokens(data, compile_special_tokens(special_tokens))
    assert specials == [token for _, token in segments if token]


@given(data=byte_strings(60), special_tokens=special_token_lists(), piece_bytes=st.integers(1, 100))
@example(data=b"a b <|endoftext|>", special_tokens=["<|endoftext|>", "<|end"], piece_bytes=1)
def test_pieces_joined_are_the_whole(
    data: bytes, special_tokens: list[str], piece_bytes: int
) -> None:
    """The starts of all pieces are those of the whole, and each piece ends inside of the text."""
    longest_first = sorted((token.encode() for token in special_tokens), key=len, reverse=True)
    specials = special_arrays(longest_first)
    padded = np.frombuffer(data + b"s\xa0" * READ_AHEAD_BYTES, np.uint8)
    whole, starts = np.zeros((2, len(data) + STARTS_SLACK), np.uint32)
    count = mark_window(padded, len(data), class_table(), specials, whole)
    joined: list[int] = []
    begin = 0
    while begin < len(data):
        place = begin
        found, begin = mark_piece(
            padded, place, len(data), piece_bytes, class_table(), specials, starts
        )
        assert place < begin <= len(data)
        assert starts[found] == begin
        joined += starts[:found].tolist()
    assert joined == whole[:count].tolist()


@pytest.mark.parametrize("between", [" ", "\n", "\u3000 ", "\u00e9 "])
def test_pieces_end_near_where_they_should(between: str) -> None:
    """A piece ends at a blank after a visible ASCII character; without one it is a larger one."""
    data = f"ab{between}".encode() * 3000
    padded = np.frombuffer(data + bytes(READ_AHEAD_BYTES), np.uint8)
    starts = np.zeros(len(data) + STARTS_SLACK, np.uint32)
    specials = special_arrays([])
    _, end = mark_piece(padded, 0, len(data), 1000, class_table(), specials, starts)
    expected = 998 if len(between) == 1 else len(data)
    assert end == expected


@given(data=byte_strings(60), margin=st.integers(0, 8))
def test_a_segment_s_starts_are_those_of_the_twin(data: bytes, margin: int) -> None:
    """The vector kernel and the formula written out by character agree, wherever the segment is."""
    padded = np.frombuffer(b"'" * margin + data + b"s" * READ_AHEAD_BYTES, np.uint8)
    starts = np.zeros(len(data) + STARTS_SLACK, np.uint32)
    end = margin + len(data)
    count = mark_segment(padded, margin, end, class_table(), starts, 0)
    assert (starts[:count] - margin).tolist() == twin(data)


@pytest.mark.parametrize("text", HARD)
def test_hard_texts_are_cut_right_over_every_block_edge(text: str) -> None:
    """Contractions, wide whitespace and characters are right wherever a block ends in them."""
    for shift in range(BLOCK_BYTES + 4):
        for filler in ("x", " ", "é"):
            data = (filler * shift + text).encode()
            expected = list(iter_pretokens(data, pattern="gpt2", special_tokens=["<|e|>"]))
            assert marked(data, ["<|e|>"])[0] == expected


def test_every_character_is_cut_right_beside_every_class() -> None:
    """Each code point, between a letter, a digit, whitespace and a mark, is cut as by `regex`."""
    for first in range(0, 0x110000, 0x4000):
        characters = [
            chr(code) for code in range(first, first + 0x4000) if not 0xD800 <= code < 0xE000
        ]
        data = "".join(f"a{c}1{c} {c}!{c}{c}" for c in characters[:: 7 if first else 1]).encode()
        assert marked(data, [])[0] == list(iter_pretokens(data, pattern="gpt2", special_tokens=[]))


@pytest.mark.parametrize(
    ("special_tokens", "data", "expected"),
    [
        (["<|e|>", "<|e|><|e|>"], b"<|e|><|e|><|e|>", [b"<|e|><|e|>", b"<|e|>"]),
        (["ab", "bc"], b"abc", [b"ab"]),
        (["<|e|>"], b"<|e|", []),
        ([], b"<|e|>", []),
    ],
)
def test_the_leftmost_and_longest_special_token_wins(
    special_tokens: list[str], data: bytes, expected: list[bytes]
) -> None:
    """Overlapping special tokens are found from the left, the longest at each place."""
    assert marked(data, special_tokens)[1] == expected
