"""Ranks: what tiktoken cannot express is refused."""

import pytest

from tokenizer.formats.tiktoken import format_ranks


def test_two_merges_of_one_token_have_no_ranks() -> None:
    """The ids must rise from merge to merge: a token that two merges make has one id for both."""
    tokens = [bytes([byte]) for byte in range(256)] + [b"ab", b"bc", b"abc"]
    merges = [(b"a", b"b"), (b"b", b"c"), (b"ab", b"c"), (b"a", b"bc")]
    vocab = dict(enumerate(tokens))
    assert format_ranks(vocab, merges[:3], []).endswith("YWI= 256\nYmM= 257\nYWJj 258\n")
    with pytest.raises(ValueError, match=r"b'abc' \(id 258\) is merged after b'abc' \(id 258\)"):
        format_ranks(vocab, merges, [])
