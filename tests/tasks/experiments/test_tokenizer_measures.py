"""The course's experiments with tokenizers, on two small texts."""

from pathlib import Path

import pytest

from tasks.experiments.tokenizer_measures import ComparisonConfig, compare, measure_throughput
from tests.tokenizer.samples import END_OF_TEXT, SAMPLE, train_sample
from tokenizer.compare import PILE_BINARY_BYTES, PILE_BYTES
from tokenizer.encoding.tokenizer import Tokenizer

TOKENIZERS = {
    "trained": train_sample("gpt2", [END_OF_TEXT], 300),
    "larger": train_sample("gpt2", [END_OF_TEXT], 340),
    "bytes": Tokenizer({byte: bytes([byte]) for byte in range(256)}, [], [END_OF_TEXT]),
}


@pytest.fixture
def texts(tmp_path: Path) -> dict[str, str]:
    """Two corpora, one of them in the words that the tokenizers were trained on."""
    documents = {
        "known": [f"{SAMPLE} {number}" for number in range(20)],
        "foreign": [f"Zyx {number} qjv" for number in range(20)],
    }
    for name, texts in documents.items():
        (tmp_path / name).write_text(f"\n{END_OF_TEXT}\n".join(texts))
    return {name: str(tmp_path / name) for name in documents}


def test_the_matrix_has_a_cell_for_each_tokenizer_and_corpus(texts: dict[str, str]) -> None:
    """More merges give more bytes a token on known words; without merges it is one byte."""
    found = compare(TOKENIZERS, texts, ComparisonConfig(num_documents=7))
    cells = found["compression"]
    assert cells["bytes"]["known"]["bytes_per_token"] == 1.0
    assert cells["bytes"]["known"]["standard_error"] == 0.0
    known = [cells[name]["known"]["bytes_per_token"] for name in ("bytes", "trained", "larger")]
    assert known == sorted(set(known))
    assert cells["trained"]["foreign"]["bytes_per_token"] < known[1]
    assert len(cells["trained"]["known"]["by_document"]) == 7
    sizes = [document["size_bytes"] for document in found["documents"]["known"]]
    assert sum(sizes) == cells["trained"]["known"]["num_bytes"]


def test_every_pair_of_vocabularies_is_compared(texts: dict[str, str]) -> None:
    """Two sizes of one training share all of the smaller one, and the merges as well."""
    found = compare(TOKENIZERS, texts, ComparisonConfig(num_documents=2))
    pairs = [(overlap["first"], overlap["second"]) for overlap in found["overlaps"]]
    assert pairs == [("trained", "larger"), ("trained", "bytes"), ("larger", "bytes")]
    assert found["overlaps"][0]["num_only_first"] == 0
    assert found["overlaps"][0]["num_common_merges"] == len(TOKENIZERS["trained"].merges)
    assert found["vocabularies"]["trained"]["id_type"] == "uint16"
    assert found["vocabularies"]["bytes"]["longest_num_bytes"] == 1


def test_a_single_document_has_no_error(texts: dict[str, str]) -> None:
    """One document tells nothing of the spread."""
    found = compare(TOKENIZERS, texts, ComparisonConfig(num_documents=1))
    assert found["compression"]["trained"]["known"]["standard_error"] is None


def test_throughput_predicts_the_pile_in_both_units(texts: dict[str, str]) -> None:
    """The two times have the ratio of 825 GiB to 825 GB."""
    found = measure_throughput(TOKENIZERS, texts, num_threads=1)
    assert found["processor"]
    cell = found["encoding"]["trained"]["known"]
    assert cell["hours_for_825_gb"] * 3600 == pytest.approx(PILE_BYTES / cell["bytes_per_second"])
    ratio = cell["hours_for_825_gib"] / cell["hours_for_825_gb"]
    assert ratio == pytest.approx(PILE_BINARY_BYTES / PILE_BYTES)
