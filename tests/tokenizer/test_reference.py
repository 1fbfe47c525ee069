"""The slow BPE: the examples that one can follow by hand, and the two rules for ties."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import byte_strings, special_token_lists, texts
from tests.tokenizer.samples import hugging_face_merges
from tokenizer.reference import (
    count_pretokens,
    decode,
    encode,
    train_bpe,
    train_merges,
)


def test_sennrich_example_gives_its_merges() -> None:
    """CS336's example, after Sennrich et al. 2016: ties go to the greater pair of byte strings."""
    counts = {b"low": 5, b"lower": 2, b"widest": 3, b"newest": 6}
    expected = [b"s t", b"e st", b"o w", b"l ow", b"w est", b"n e"]
    merges = train_merges(counts, 6)
    assert [b" ".join(pair) for pair in merges] == expected


def test_tie_rules_differ_as_documented() -> None:
    """The course takes the greatest pair of byte strings, Hugging Face the smallest pair of ids."""
    counts = {b"ab": 1, b"cd": 1}
    assert train_merges(counts, 1, tie_break="lexicographic") == [(b"c", b"d")]
    assert train_merges(counts, 1, tie_break="huggingface") == [(b"a", b"b")]


def test_byte_strings_are_compared_pair_by_pair_not_joined() -> None:
    """The pair (ba, b) beats (b, ac): the left sides are compared first."""
    counts = {b"xbab": 3, b"bacyy": 3, b"ba": 1}
    merges = train_merges(counts, 3)
    assert merges[0] == (b"b", b"a")
    assert merges[1] == (b"y", b"y")
    assert merges[2] == (b"x", b"ba")


def test_training_stops_when_nothing_is_left_to_merge() -> None:
    """A corpus that gives fewer merges than wanted gives those it has."""
    assert train_merges({b"aaa": 1}, 100) == [(b"a", b"a"), (b"aa", b"a")]
    assert train_merges({}, 100) == []


def test_special_tokens_are_neither_counted_nor_cut_from_the_text_around() -> None:
    """No merge holds any part of a special token, and `<`, `>` elsewhere are counted."""
    data = b"a<b>c<|endoftext|>a<b>c<|endoftext|>"
    counts = count_pretokens(data, pattern="gpt2", special_tokens=["<|endoftext|>"])
    assert counts == {b"a": 2, b"<": 2, b"b": 2, b">": 2, b"c": 2}


def test_a_special_token_is_one_id() -> None:
    """It has its own id, and no merge reaches over it."""
    vocab, merges = train_bpe(b"ab<e>ab", 258, ["<e>"])
    assert merges == [(b"a", b"b")]
    assert encode(b"ab<e>a<e>b<e", vocab, merges, ["<e>"]) == [256, 257, 97, 257, 98, 60, 101]


@given(byte_strings(), special_token_lists(), st.sampled_from(["lexicographic", "huggingface"]))
def test_decoding_gives_the_encoded_bytes_back(data: bytes, special: list[str], tie: str) -> None:
    """Whatever the bytes are, decode(encode(x)) == x."""
    vocab, merges = train_bpe(data, 280, special, tie_break=tie)  # type: ignore[arg-type] # sampled
    assert decode(encode(data, vocab, merges, special), vocab) == data


@given(byte_strings(12))
def test_no_two_merges_make_the_same_token(data: bytes) -> None:
    """A token has one way to arise, so a vocabulary of byte strings has no repeats."""
    _, merges = train_bpe(data * 2, 400, [])
    assert len({left + right for left, right in merges}) == len(merges)


@pytest.mark.parametrize("text", [b"", b"a", b"aa", b"aaa", b"aaaaaaa"])
def test_runs_of_one_letter_merge_from_left_to_right(text: bytes) -> None:
    """Overlapping pairs are taken from the left, so an odd letter stays at the end."""
    vocab = dict(enumerate([bytes([byte]) for byte in range(256)] + [b"aa"]))
    token_ids = encode(text, vocab, [(b"a", b"a")])
    assert token_ids == [256] * (len(text) // 2) + [97] * (len(text) % 2)


@given(texts(assigned=True))
def test_hugging_face_rule_gives_the_merges_of_its_trainer(text: str) -> None:
    """With the "huggingface" rule the merges are those of `BpeTrainer`, tie by tie."""
    counts = count_pretokens(text.encode(), pattern="gpt2")
    assert train_merges(counts, 60, tie_break="huggingface") == hugging_face_merges([text], 60)


@pytest.mark.parametrize(
    "name", ["tinystories-valid", "openwebtext-valid", "webtext-standin-valid"]
)
def test_hugging_face_rule_gives_its_merges_on_real_text(shared_data: Path, name: str) -> None:
    """Real text in many scripts, with documents cut at the end of text, gives the same merges."""
    data = gzip.decompress((shared_data / f"{name}.txt.gz").read_bytes())
    text = data[:30_000].decode(errors="ignore")
    expected = hugging_face_merges(text.split("<|endoftext|>"), 150)
    counts = count_pretokens(text.encode(), pattern="gpt2", special_tokens=["<|endoftext|>"])
    assert train_merges(counts, 150, tie_break="huggingface") == expected
