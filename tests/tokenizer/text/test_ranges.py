"""Ranges: they cover a text, end at safe cuts, and depend on nothing but the text."""

from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenizer.pretokenize import iter_pretokens
from tokenizer.text.ranges import byte_ranges

SPECIAL_TOKENS = ["<|endoftext|>", "<|end", "a b", "aa"]
_OTHERS = (" ", "  ", "\n", "a", "b", "'s", "1", "é", "\u00a0", "\u3000", "。", "<|")
# Pieces in which a cut at the wrong place changes pretokens or special tokens.
texts = st.lists(st.sampled_from([*SPECIAL_TOKENS, *_OTHERS]), max_size=60).map(
    lambda parts: "".join(parts).encode()
)


def _pretokens(data: bytes, pattern: str) -> list[bytes]:
    return list(iter_pretokens(data, pattern=pattern, special_tokens=SPECIAL_TOKENS))


@given(data=texts, range_bytes=st.integers(1, 40), pattern=st.sampled_from(["gpt2", "cl100k"]))
def test_ranges_tokenized_apart_give_the_whole(
    data: bytes, range_bytes: int, pattern: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The pretokens of all ranges, joined, are the pretokens of the whole text."""
    path = tmp_path_factory.mktemp("text") / "text"
    path.write_bytes(data)
    ranges = byte_ranges(path, range_bytes, special_tokens=SPECIAL_TOKENS, pattern=pattern)
    pieces = [data[start:stop] for start, stop in ranges]
    assert b"".join(pieces) == data
    assert all(pieces)
    apart = [pretoken for piece in pieces for pretoken in _pretokens(piece, pattern)]
    assert apart == _pretokens(data, pattern)


def test_a_document_end_nearby_is_preferred(tmp_path: Path) -> None:
    """A range ends with a document when one ends within an eighth of the range's size."""
    path = tmp_path / "text"
    path.write_text("one two " * 10 + "<|endoftext|>" + "three " * 20)
    ranges = byte_ranges(path, 79, special_tokens=["<|endoftext|>"], pattern="gpt2")
    assert ranges[0] == (0, 79)
    ranges = byte_ranges(path, 90, special_tokens=["<|endoftext|>"], pattern="gpt2")
    assert ranges[0] == (0, 93)


def test_a_text_without_cuts_is_one_range(tmp_path: Path) -> None:
    """One long pretoken is never cut, and an empty text has no ranges."""
    path = tmp_path / "text"
    path.write_bytes(b"a" * 1000)
    assert byte_ranges(path, 10, special_tokens=[], pattern="gpt2") == [(0, 1000)]
    path.write_bytes(b"")
    assert byte_ranges(path, 10, special_tokens=[], pattern="gpt2") == []


def test_a_remote_text_has_the_ranges_of_the_local_one(tmp_path: Path) -> None:
    """An fsspec URL gives the same ranges as a local path."""
    data = b"some words and\nlines <|endoftext|> " * 100
    path = tmp_path / "text"
    path.write_bytes(data)
    fsspec.filesystem("memory").pipe_file("/ranges/text", data)
    local = byte_ranges(path, 100, special_tokens=["<|endoftext|>"], pattern="gpt2")
    remote = byte_ranges(
        "memory://ranges/text", 100, special_tokens=["<|endoftext|>"], pattern="gpt2"
    )
    assert local == remote
    assert len(local) > 20


def test_a_range_size_below_one_is_refused(tmp_path: Path) -> None:
    """The error names the argument and its value."""
    with pytest.raises(ValueError, match=r"range_bytes \(0\) must be positive"):
        byte_ranges(tmp_path / "text", 0, special_tokens=[], pattern="gpt2")
