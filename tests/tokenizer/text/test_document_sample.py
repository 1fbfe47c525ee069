"""A sample depends on the documents alone, and every document has the same chance."""

import random
from pathlib import Path

import pytest

from tests.tokenizer.samples import END_OF_TEXT
from tokenizer.text.document_sample import sample_documents

DOCUMENTS = [f"document {number}\n\nof several lines" for number in range(200)]


def corpus(path: Path, documents: list[str]) -> Path:
    """Write documents in the layout of the public TinyStories files."""
    path.write_text(f"\n{END_OF_TEXT}\n".join(documents))
    return path


def test_the_sample_is_the_same_in_any_order_and_with_repeats(tmp_path: Path) -> None:
    """Shuffling and repeating documents changes nothing, another seed does."""
    path = corpus(tmp_path / "a.txt", DOCUMENTS)
    sample = sample_documents(path)
    assert len(sample) == len(set(sample)) == 10
    assert {document.decode() for document in sample} <= set(DOCUMENTS)
    shuffled = random.Random(0).sample(DOCUMENTS * 3, k=600)
    assert sample_documents(corpus(tmp_path / "b.txt", shuffled)) == sample
    assert sample_documents(path, seed=1) != sample


def test_a_larger_sample_contains_the_smaller_one(tmp_path: Path) -> None:
    """The first documents stay the same, up to all there are."""
    path = corpus(tmp_path / "a.txt", DOCUMENTS)
    for number in (1, 3):
        assert sample_documents(path, num_documents=number) == sample_documents(path)[:number]
    everything = sample_documents(path, num_documents=1000)
    assert sorted(everything) == sorted(text.encode() for text in DOCUMENTS)


def test_every_document_has_the_same_chance(tmp_path: Path) -> None:
    """Over 400 seeds each of 20 documents is in a sample of 5 about 100 times."""
    path = corpus(tmp_path / "a.txt", DOCUMENTS[:20])
    counts = dict.fromkeys((text.encode() for text in DOCUMENTS[:20]), 0)
    for seed in range(400):
        for document in sample_documents(path, num_documents=5, seed=seed):
            counts[document] += 1
    # Five standard deviations of a binomial count: 5 sqrt(400 x 1/4 x 3/4) = 43.
    assert all(57 < count < 143 for count in counts.values())


def test_an_empty_sample_is_refused(tmp_path: Path) -> None:
    """At least one document is wanted."""
    with pytest.raises(ValueError, match=r"num_documents \(0\)"):
        sample_documents(corpus(tmp_path / "a.txt", DOCUMENTS), num_documents=0)
