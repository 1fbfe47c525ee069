"""The fast encoder: the reference's ids, however small its table of pretokens is."""

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import byte_strings
from tests.tokenizer.samples import END_OF_TEXT, SAMPLE
from tokenizer import reference
from tokenizer.encoding.encoder import id_dtype
from tokenizer.encoding.fast import FastEncoder
from tokenizer.encoding.known_pretokens import KnownPretokens
from tokenizer.pretokenize import iter_pretokens
from tokenizer.text.windows import PADDING_BYTES

VOCAB, MERGES = reference.train_bpe(SAMPLE.encode(), 380, [END_OF_TEXT])


@given(parts=st.lists(byte_strings(12), max_size=12), piece_bytes=st.sampled_from([1, 30, 2**16]))
def test_ids_are_the_reference_s(parts: list[bytes], piece_bytes: int) -> None:
    """Text in which pretokens come back, long and short ones, is encoded as the reference does."""
    data = b" ".join(parts * 3) + END_OF_TEXT.encode() + b" x".join(parts)
    encoder = FastEncoder.from_vocab(VOCAB, MERGES, [END_OF_TEXT])
    encoder.piece_bytes = piece_bytes
    assert encoder.encode(data) == reference.encode(data, VOCAB, MERGES, [END_OF_TEXT])


WORDS = [b" %d" % (7919 * number) for number in range(600)]
WORDS += [b" long" * 4 + b"%dx" % number for number in range(200)]
WORDS += ["\u00e9\u4e2d\u2019".encode() * 3 + b"%d" % number for number in range(200)]


@pytest.mark.parametrize(("num_slots", "max_slots"), [(128, 128), (128, 512), (128, 2**16)])
def test_a_small_table_gives_the_same_ids(num_slots: int, max_slots: int) -> None:
    """With room for a few pretokens, growing or not, the ids are those of the reference."""
    encoder = FastEncoder.from_vocab(VOCAB, MERGES)
    encoder.known = KnownPretokens(np.uint16, num_slots=num_slots, max_slots=max_slots)
    for count in (100, 1000, 300):
        data = b"".join(WORDS[:count] * 2)
        assert encoder.encode(data) == reference.encode(data, VOCAB, MERGES, [])


def test_threads_share_what_they_know() -> None:
    """Twins on several threads give the reference's ids, and each new pretoken is entered once."""
    source = random.Random(0)
    texts = [b"".join(source.choices(WORDS, k=400)) for _ in range(60)]
    first = FastEncoder.from_vocab(VOCAB, MERGES)
    first.known = KnownPretokens(np.uint16, num_slots=2**12)
    twins = [first.twin() for _ in range(4)]
    with ThreadPoolExecutor(len(twins)) as pool:
        ids = list(pool.map(lambda task: twins[task[0] % 4].encode(task[1]), enumerate(texts)))
    assert ids == [reference.encode(text, VOCAB, MERGES, []) for text in texts]
    distinct = {word for text in texts for word in iter_pretokens(text, pattern="gpt2")}
    # Two threads may enter one at the same time.
    assert len(distinct) <= first.known.table.num_entries[0] <= 2 * len(distinct)


@pytest.mark.parametrize("extra", [0, 70_000])
def test_wide_ids_take_two_words(extra: int) -> None:
    """Beyond 65,536 ids the output has 32 bits an id, and the same ids."""
    vocab = dict(VOCAB) | {len(VOCAB) + index: b"unused%d" % index for index in range(extra)}
    encoder = FastEncoder.from_vocab(vocab, MERGES, [END_OF_TEXT])
    expected = reference.encode(SAMPLE.encode(), VOCAB, MERGES, [END_OF_TEXT])
    assert encoder.encode(SAMPLE.encode()) == expected
    assert id_dtype(len(vocab)) == (np.uint32 if extra else np.uint16)


def test_the_smallest_id_of_two_words_is_written_whole() -> None:
    """Of 65,537 ids the last does not fit in 16 bits."""
    unused = {number: b"unused%d" % number for number in range(len(VOCAB), 2**16)}
    encoder = FastEncoder.from_vocab({**VOCAB, **unused, 2**16: b"<last>"}, MERGES, ["<last>"])
    assert encoder.encode(b"a<last>") == [97, 2**16]


def test_separators_are_reported() -> None:
    """The places after each separator are given, and only after that special token."""
    encoder = FastEncoder.from_vocab(
        {**VOCAB, len(VOCAB): b"<pad>"}, MERGES, [END_OF_TEXT, "<pad>"]
    )
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
        FastEncoder.from_vocab({2**21: b"x"}, [])
