"""Shards: the reference's ids and the documents' places, for any threads and cuts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from tests.strategies import SPECIAL_TOKENS, byte_strings
from tokenizer import reference
from tokenizer.encoding.encoder import id_dtype
from tokenizer.encoding.file_encoder import EncodedFile, encode_file
from tokenizer.encoding.tokenizer import Tokenizer
from tokenizer.text.ranges import byte_ranges

EOT = "<|endoftext|>"
TEXT = (
    "The low lower lowest word, 123 times; it's Ünïcödé.\n\n" * 3 + EOT + " once upon a time" + EOT
).encode() * 20 + b"\xff\xfe broken \xe2\x82"


def trained(
    data: bytes, vocab_size: int, special_tokens: list[str], pattern: str = "gpt2"
) -> Tokenizer:
    """Train a small tokenizer on the text itself."""
    vocab, merges = reference.train_bpe(data, vocab_size, special_tokens, pattern=pattern)
    return Tokenizer(vocab, merges, special_tokens, pattern=pattern)


TOKENIZER = trained(TEXT[:400], 300, [EOT])


def encoded(
    tokenizer: Tokenizer, folder: Path, data: bytes, **options: Any
) -> tuple[list[int], list[int], EncodedFile]:
    """Encode through files and read them back."""
    path = folder / "text"
    if not path.exists() or path.read_bytes() != data:
        path.write_bytes(data)
    output, documents = folder / "ids.npy", folder / "documents.npy"
    result = encode_file(tokenizer, path, output=output, documents_output=documents, **options)
    ids = np.load(output, allow_pickle=False)
    assert ids.dtype == np.dtype("<u2")
    assert len(ids) == result.num_tokens
    return ids.tolist(), np.load(documents, allow_pickle=False).tolist(), result


def test_ids_are_the_reference_s(tmp_path: Path) -> None:
    """The shard decodes to the text and holds the reference's ids."""
    ids, documents, result = encoded(TOKENIZER, tmp_path, TEXT)
    expected = reference.encode(TEXT, TOKENIZER.vocab, TOKENIZER.merges, [EOT])
    assert ids == expected
    assert reference.decode(ids, TOKENIZER.vocab) == TEXT
    eot_id = len(TOKENIZER.vocab) - 1
    assert documents == [0] + [i + 1 for i, token_id in enumerate(ids) if token_id == eot_id]
    assert result.num_documents == len(documents) == 41
    assert result.size_bytes == len(TEXT)


@given(data=byte_strings())
def test_any_bytes_are_encoded_like_the_reference(
    data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Arbitrary bytes with overlapping special tokens give the reference's ids."""
    tokenizer = trained(TEXT[:200] + data, 290, list(SPECIAL_TOKENS))
    ids, _, _ = encoded(tokenizer, tmp_path_factory.mktemp("encode"), data)
    assert ids == reference.encode(data, tokenizer.vocab, tokenizer.merges, SPECIAL_TOKENS)


@pytest.mark.parametrize("range_bytes", [100, 1000])
def test_shards_joined_are_the_whole(tmp_path: Path, range_bytes: int) -> None:
    """Any cut into ranges gives the ids and the documents of the whole text."""
    whole, documents, _ = encoded(TOKENIZER, tmp_path, TEXT)
    joined: list[int] = []
    starts: list[int] = []
    ranges = byte_ranges(
        tmp_path / "text", range_bytes, special_tokens=[EOT], pattern=TOKENIZER.pattern
    )
    for start, stop in ranges:
        ids, places, _ = encoded(TOKENIZER, tmp_path, TEXT, start=start, stop=stop)
        starts += [place + len(joined) for place in places]
        joined += ids
    assert joined == whole
    assert starts == documents


def test_a_separator_that_is_no_special_token_begins_no_document(tmp_path: Path) -> None:
    """A shard that begins after the separator's text continues the one document of the text."""
    tokenizer = trained(TEXT[:400], 300, [])
    begin = TEXT.index(EOT.encode()) + len(EOT)
    _, documents, result = encoded(tokenizer, tmp_path, TEXT, start=begin)
    assert (documents, result.num_documents) == ([], 0)


def test_threads_make_no_difference(tmp_path: Path) -> None:
    """One and several threads write the same bytes."""
    data = TEXT * 300
    files = []
    for num_threads in (1, 2, 3):
        encoded(TOKENIZER, tmp_path, data, num_threads=num_threads)
        files.append(
            (tmp_path / "ids.npy").read_bytes() + (tmp_path / "documents.npy").read_bytes()
        )
    assert files[0] == files[1] == files[2]


def test_an_empty_text_is_an_empty_shard(tmp_path: Path) -> None:
    """An empty file gives no tokens and no documents."""
    ids, documents, result = encoded(TOKENIZER, tmp_path, b"")
    assert (ids, documents, result.num_documents) == ([], [], 0)


def test_ids_take_two_bytes_as_long_as_they_fit() -> None:
    """65,536 ids are 0 to 65,535."""
    assert id_dtype(65_536) == np.dtype("<u2")
    assert id_dtype(65_537) == np.dtype("<u4")


def test_large_vocabularies_take_uint32(tmp_path: Path) -> None:
    """More than 65,536 ids do not fit uint16, so the shard is uint32."""
    vocab = dict(TOKENIZER.vocab)
    for index in range(len(vocab), 65_537):
        vocab[index] = b"unused %d" % index
    tokenizer = Tokenizer(vocab, TOKENIZER.merges, [EOT])
    (tmp_path / "text").write_bytes(TEXT)
    output = tmp_path / "ids.npy"
    result = encode_file(
        tokenizer, tmp_path / "text", output=output, documents_output=tmp_path / "documents.npy"
    )
    assert result.dtype == "uint32"
    assert np.load(output).dtype == np.dtype("<u4")
    assert reference.decode(np.load(output).tolist(), vocab) == TEXT
