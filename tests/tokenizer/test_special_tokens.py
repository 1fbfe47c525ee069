"""Special tokens in a text: none is missed, and of several at one place the longest wins."""

from hypothesis import given

from tests.strategies import byte_strings, special_token_lists
from tokenizer.special_tokens import compile_special_tokens, cut_at_special_tokens


@given(byte_strings(), special_token_lists())
def test_no_special_token_is_left_in_a_segment(data: bytes, special: list[str]) -> None:
    """The text between special tokens has none of them."""
    for segment, _ in cut_at_special_tokens(data, compile_special_tokens(special)):
        assert not any(token.encode() in segment for token in special)


def test_longest_of_overlapping_special_tokens_wins() -> None:
    """Of special tokens that start at one place the longest is taken, in any order given."""
    data = b"a<|x|><|x|>b<|x|>"
    expected = [(b"a", b"<|x|><|x|>"), (b"b", b"<|x|>"), (b"", None)]
    for special in (["<|x|>", "<|x|><|x|>"], ["<|x|><|x|>", "<|x|>"]):
        assert list(cut_at_special_tokens(data, compile_special_tokens(special))) == expected
