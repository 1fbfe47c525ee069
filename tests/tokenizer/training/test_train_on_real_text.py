"""Training on all shared real text: with Hugging Face's rule for ties, its trainer's merges."""

import gzip
from pathlib import Path

import pytest

from tests.tokenizer.samples import END_OF_TEXT, hugging_face_merges
from tokenizer.training.count import count_pretokens
from tokenizer.training.train import train_merges


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "num_merges"),
    [
        ("tinystories-train", 10_000),
        ("tinystories-valid", 5_000),
        ("openwebtext-train", 32_000),
        ("openwebtext-valid", 10_000),
        ("webtext-standin-train", 32_000),
        ("webtext-standin-valid", 10_000),
        ("tinystories_sample_5M", 10_000),
    ],
)
def test_hugging_face_rule_gives_its_merges_on_real_text(
    shared_data: Path, tmp_path: Path, name: str, num_merges: int
) -> None:
    """Thousands of merges with many ties are those of `BpeTrainer`, in the same order."""
    text = gzip.decompress((shared_data / f"{name}.txt.gz").read_bytes())
    path = tmp_path / "text.txt"
    path.write_bytes(text)
    counts = count_pretokens(path, special_tokens=[END_OF_TEXT])
    merges = train_merges(counts, num_merges, tie_break="huggingface").merges
    documents = text.decode().split(END_OF_TEXT)
    assert merges == hugging_face_merges(documents, num_merges)
