"""Measures and comparisons: the numbers that the command line shows."""

import tempfile
from pathlib import Path

import pytest

from tests.tokenizer.samples import END_OF_TEXT, SAMPLE, train_sample
from tokenizer.compare import (
    PILE_BINARY_BYTES,
    PILE_BYTES,
    EncodingMeasure,
    compare_vocabularies,
    compression_matrix,
    longest_tokens,
    measure_encoding,
    measure_samples,
    smallest_id_type,
)
from tokenizer.encoding.tokenizer import Tokenizer

BYTES_ONLY = Tokenizer({byte: bytes([byte]) for byte in range(256)}, [], [END_OF_TEXT])


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A small corpus of two documents."""
    path = tmp_path / "corpus.txt"
    path.write_bytes(f"{SAMPLE}\n{END_OF_TEXT}\n{SAMPLE}".encode())
    return path


def test_a_measure_counts_what_encoding_gives(
    small_tokenizer: Tokenizer, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes and tokens are those of the text, and nothing stays on disk."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    progress: list[tuple[int, int]] = []
    measure = measure_encoding(
        small_tokenizer, corpus, on_progress=lambda *call: progress.append(call)
    )
    assert measure.num_tokens == len(small_tokenizer.encode(corpus.read_bytes().decode()))
    assert measure.size_bytes == corpus.stat().st_size
    assert measure.bytes_per_token == pytest.approx(measure.size_bytes / measure.num_tokens)
    assert measure.seconds > 0
    assert progress[-1] == (measure.size_bytes, measure.size_bytes)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.txt"]


def test_the_pile_is_predicted_in_both_units() -> None:
    """At 1 GB a second 825 GB take 825 seconds, and 825 GiB seven percent longer."""
    measure = EncodingMeasure(size_bytes=10**9, num_tokens=1, seconds=1.0, num_threads=1)
    assert measure.seconds_for(PILE_BYTES) == pytest.approx(825)
    assert measure.seconds_for(PILE_BINARY_BYTES) == pytest.approx(885.8, abs=0.1)


def test_matrix_has_a_row_by_tokenizer_and_a_column_by_text(
    small_tokenizer: Tokenizer, corpus: Path, tmp_path: Path
) -> None:
    """A trained tokenizer needs fewer tokens than one of bytes, on each text."""
    other = tmp_path / "other.txt"
    other.write_bytes(b"Once upon a time")
    named = {"trained": small_tokenizer, "bytes": BYTES_ONLY}
    matrix = compression_matrix(named, [corpus, other])
    assert list(matrix) == ["trained", "bytes"]
    for column in range(2):
        assert matrix["trained"][column].bytes_per_token > matrix["bytes"][column].bytes_per_token
    assert matrix["bytes"][1].bytes_per_token == 1.0


def test_overlap_counts_tokens_and_the_common_start_of_the_merges() -> None:
    """Two sizes of one training share all of the smaller one."""
    small, large = train_sample("gpt2", [END_OF_TEXT], 300), train_sample("gpt2", [END_OF_TEXT])
    overlap = compare_vocabularies(small, large)
    assert overlap.num_shared == small.vocab_size
    assert overlap.only_first == ()
    assert len(overlap.only_second) == large.vocab_size - small.vocab_size
    assert overlap.num_common_merges == len(small.merges)
    assert overlap.jaccard == pytest.approx(small.vocab_size / large.vocab_size)


def test_longest_tokens_are_all_that_tie_without_special_ones() -> None:
    """Every token of the greatest length is listed; the end of text is not one of them."""
    vocab = {byte: bytes([byte]) for byte in range(256)} | {256: b"ab", 257: b"cd"}
    tokenizer = Tokenizer(vocab, [(b"a", b"b"), (b"c", b"d")], [END_OF_TEXT])
    assert longest_tokens(tokenizer) == [(256, b"ab"), (257, b"cd")]
    assert len(longest_tokens(BYTES_ONLY)) == 256


def test_samples_are_encoded_document_by_document(small_tokenizer: Tokenizer) -> None:
    """A token does not reach over two documents; long documents weigh more."""
    documents = [SAMPLE.encode(), b"a", "Ünïcödé".encode()]
    found = measure_samples(small_tokenizer, {"texts": documents, "one": documents[1:2]})
    assert found["texts"].num_bytes == (len(SAMPLE.encode()), 1, 11)
    assert found["texts"].num_tokens[0] == len(small_tokenizer.encode(SAMPLE))
    assert found["one"].bytes_per_token == 1.0
    total = sum(found["texts"].num_bytes) / sum(found["texts"].num_tokens)
    assert found["texts"].bytes_per_token == total


@pytest.mark.parametrize(
    ("vocab_size", "name", "num_bytes"),
    [(256, "uint8", 1), (257, "uint16", 2), (65_536, "uint16", 2), (65_537, "uint32", 4)],
)
def test_ids_take_the_smallest_type_that_holds_them(
    vocab_size: int, name: str, num_bytes: int
) -> None:
    """Two bytes hold the vocabularies of 10,000 and 32,000; one byte cannot, four waste half."""
    found = smallest_id_type(vocab_size)
    assert (found.name, found.num_bytes) == (name, num_bytes)
    assert found.largest_id <= found.largest_value
