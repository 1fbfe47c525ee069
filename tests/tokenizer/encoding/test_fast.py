"""The fast encoder: the reference's ids, however small its table of pretokens is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import byte_strings
from tests.tokenizer.samples import END_OF_TEXT, SAMPLE
from tokenizer import reference
from tokenizer.encoding.encoder import id_dtype
from tokenizer.encoding.fast import FastEncoder, empty_table
from tokenizer.kernels.encode_table import NUM_EMPTIED
from tokenizer.text.windows import PADDING_BYTES

VOCAB, MERGES = reference.train_bpe(SAMPLE.encode(), 380, [END_OF_TEXT])


@given(parts=st.lists(byte_strings(12), max_size=12))
def test_ids_are_the_reference_s(parts: list[bytes]) -> None:
    """Text in which pretokens come back, long and short ones, is encoded as the reference does."""
    data = b" ".join(parts * 3) + END_OF_TEXT.encode() + b" x".join(parts)
    encoder = FastEncoder(VOCAB, MERGES, [END_OF_TEXT])
    assert encoder.encode(data) == reference.encode(data, VOCAB, MERGES, [END_OF_TEXT])


def test_a_table_that_is_emptied_again_and_again_gives_the_same_ids() -> None:
    """With room for a few pretokens only, the ids are those of a large table."""
    words = [b" %d" % (7919 * number) for number in range(600)]
    words += [b" long" * 4 + b"%dx" % number for number in range(200)]
    data = b"".join(words * 2)
    large = FastEncoder(VOCAB, MERGES)
    expected = large.encode(data)
    small = FastEncoder(VOCAB, MERGES)
    small.table = empty_table(128)
    assert small.encode(data) == expected
    assert large.table.sizes[NUM_EMPTIED] == 0
    # What was full is followed by a larger one.
    assert len(small.table.short) == 4 * 4 * 128


@pytest.mark.parametrize("extra", [0, 70_000])
def test_wide_ids_take_two_words(extra: int) -> None:
    """Beyond 65,536 ids the output has 32 bits an id, and the same ids."""
    vocab = dict(VOCAB) | {len(VOCAB) + index: b"unused%d" % index for index in range(extra)}
    encoder = FastEncoder(vocab, MERGES, [END_OF_TEXT])
    expected = reference.encode(SAMPLE.encode(), VOCAB, MERGES, [END_OF_TEXT])
    assert encoder.encode(SAMPLE.encode()) == expected
    assert id_dtype(len(vocab)) == (np.uint32 if extra else np.uint16)


def test_separators_are_reported() -> None:
    """The places after each separator are given, and only after that special token."""
    encoder = FastEncoder({**VOCAB, len(VOCAB): b"<pad>"}, MERGES, [END_OF_TEXT, "<pad>"])
    text = f"a{END_OF_TEXT}<pad>b{END_OF_TEXT}{END_OF_TEXT}".encode()
    data = np.frombuffer(text.ljust(len(text) + PADDING_BYTES, b"\0"), np.uint8)
    out = np.empty(len(data), np.uint16)
    num_ids, ends = encoder.encode_window(data, len(text), out, END_OF_TEXT.encode())
    assert (num_ids, ends.tolist()) == (6, [2, 5, 6])
    eot_id, pad_id = len(VOCAB) - 1, len(VOCAB)
    assert out[:num_ids].tolist() == [97, eot_id, pad_id, 98, eot_id, eot_id]


def test_too_large_a_vocabulary_is_refused() -> None:
    """A vocabulary beyond what a slot can hold is refused with the limit."""
    with pytest.raises(ValueError, match="too large for the fast encoder"):
        FastEncoder({2**21: b"x"}, [])
