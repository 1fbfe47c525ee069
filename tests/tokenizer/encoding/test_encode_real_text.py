"""Encoding all shared real text to files with GPT-2's vocabulary: tiktoken's ids."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from tests.tokenizer.samples import END_OF_TEXT, tiktoken_encoding
from tokenizer.encoding.file_encoder import encode_file
from tokenizer.encoding.tokenizer import Tokenizer


def _check_file(shared_data: Path, folder: Path, tokenizer: Tokenizer, name: str) -> None:
    text = gzip.decompress((shared_data / f"{name}.txt.gz").read_bytes())
    path = folder / "text.txt"
    path.write_bytes(text)
    encode_file(
        tokenizer,
        path,
        output=folder / "ids.npy",
        documents_output=folder / "documents.npy",
        num_threads=2,
    )
    ids = np.load(folder / "ids.npy")
    expected = tiktoken_encoding(tokenizer).encode_to_numpy(
        text.decode(), allowed_special={END_OF_TEXT}
    )
    assert np.array_equal(ids, expected)
    starts = np.load(folder / "documents.npy")
    assert starts[0] == 0
    assert np.all(ids[starts[1:] - 1] == tokenizer.eot_id)
    assert len(starts) - 1 == np.count_nonzero(ids[:-1] == tokenizer.eot_id)


def test_a_real_text_has_tiktoken_s_ids(
    shared_data: Path, tmp_path: Path, gpt2_tokenizer: Tokenizer
) -> None:
    """The smallest of the shared files is encoded like tiktoken does."""
    _check_file(shared_data, tmp_path, gpt2_tokenizer, "openwebtext-valid")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "tinystories-train",
        "tinystories-valid",
        "openwebtext-train",
        "webtext-standin-train",
        "webtext-standin-valid",
        "tinystories_sample_5M",
    ],
)
def test_all_real_texts_have_tiktoken_s_ids(
    shared_data: Path, tmp_path: Path, gpt2_tokenizer: Tokenizer, name: str
) -> None:
    """Every other shared file is encoded like tiktoken does."""
    _check_file(shared_data, tmp_path, gpt2_tokenizer, name)
