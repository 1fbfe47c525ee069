"""Hypothesis strategies that several test files share: texts, bytes, special tokens."""

from itertools import pairwise

from hypothesis import strategies as st

# Every whitespace that GPT-2's `\s` knows, those it does not (U+001C to U+001F, U+200B), letters
# and digits of several widths in UTF-8, marks, an emoji with modifiers, apostrophes, NUL.
_ODD_CHARACTERS = (
    "\t\n\v\f\r \x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2009\u2028\u2029\u202f\u205f\u3000"
    "\u200b\ufeff"
    "aZéßſıİſKΩжא中한ªº٣१²½Ⅷⅷ𝟘𐍈"
    "\u0301\u0903\u20dd👍🏽🇩🇪\u200d'’`´\"!?.,-_/<|>#%\x00\x7f\ufffd"
)
_WORDS = (
    *("'s", "'t", "'ll", "'ve", "'re", "'m", "'d", "'S", "'LL", "'ſ", "it's", "we'll", "'sun"),
    *("the", " the", "  the", "Hello", " 42", "1234567", " ...", "!\n", "\n\n", " \n ", "   "),
    *("<|endoftext|>", "<|endof", "text|>", "<|", "naïve", " 世界", "aaaa", "abab", "HTTPServer"),
)

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|end",
    "<|endoftext|><|endoftext|>",
    "ab c",
    "é!",
    " \n<",
    "aaa",
)
"""Special tokens that begin, contain and overlap each other, with whitespace inside."""


def texts(max_size: int = 30, *, assigned: bool = False) -> st.SearchStrategy[str]:
    """Draw texts that split patterns find hard: words, contractions, all kinds of whitespace.

    With `assigned` only characters that Python's Unicode has, for comparing with tools whose
    Unicode is older than that of `regex`; U+0295 changed its category between the two.
    """
    drawn = (
        st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\u0295")
        if assigned
        else st.characters(exclude_categories=["Cs"])
    )
    part = (
        st.sampled_from(_WORDS) | st.sampled_from(_ODD_CHARACTERS) | drawn | st.sampled_from("ab ")
    )
    return st.lists(part, max_size=max_size).map("".join)


def byte_strings(max_size: int = 30) -> st.SearchStrategy[bytes]:
    """Draw bytes: text in UTF-8, with stray, cut and overlong sequences among it."""
    wrong = st.sampled_from(
        [b"\x80", b"\xff", b"\xc3", b"\xe4\xb8", b"\xf0\x9f\x91", b"\xed\xa0\x80", b"\xc0\xaf"]
    )
    part = texts(4).map(str.encode) | wrong | st.binary(max_size=3)
    return st.lists(part, max_size=max_size // 3).map(b"".join)


def special_token_lists(max_size: int = 4) -> st.SearchStrategy[list[str]]:
    """Draw lists of different special tokens, in any order."""
    return st.lists(st.sampled_from(SPECIAL_TOKENS), max_size=max_size, unique=True)


@st.composite
def texts_of_overlapping_specials(draw: st.DrawFn) -> tuple[str, list[str]]:
    """Draw special tokens that nest, repeat, overlap and adjoin, and a text that is full of them.

    All are made of the same few short pieces, and so is what the text has besides.
    """
    pieces = draw(st.lists(st.text("abX ", min_size=1, max_size=3), min_size=1, max_size=3))
    piece = st.sampled_from(pieces)
    special = st.lists(piece, min_size=1, max_size=4).map("".join).filter(lambda t: len(t) > 1)
    special_tokens = draw(st.lists(special, min_size=1, max_size=4, unique=True))
    part = st.sampled_from(special_tokens) | piece | st.sampled_from("ab \n\u3000X")
    repeated = st.tuples(part, st.integers(1, 5)).map(lambda drawn: drawn[0] * drawn[1])
    return "".join(draw(st.lists(repeated, max_size=12))), special_tokens


@st.composite
def split_texts(draw: st.DrawFn) -> tuple[str, list[str]]:
    """Draw a text and the same text cut into pieces anywhere, some of them empty."""
    text = draw(texts())
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=6)))
    bounds = [0, *cuts, len(text)]
    return text, [text[start:end] for start, end in pairwise(bounds)]
