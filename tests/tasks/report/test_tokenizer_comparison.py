"""The comparison of tokenizers in the report, from the plain data that the stage keeps."""

from pathlib import Path

import pytest

from artifacts.record import Record
from tasks.experiments.tokenizer_measures import ComparisonConfig, compare, measure_throughput
from tasks.report.blocks import Table, Text
from tasks.report.evidence import Evidence
from tasks.report.sections.tokenizer_comparison import comparison_blocks
from tests.made_up_evidence import record_of_stage, settings_of
from tests.tokenizer.samples import END_OF_TEXT, SAMPLE, train_sample


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """A comparison of two sizes of one training on one small text."""
    path = tmp_path / "text"
    path.write_text(f"{SAMPLE}\n{END_OF_TEXT}\n{SAMPLE} again")
    sizes = {"small": 300, "large": 340}
    tokenizers = {name: train_sample("gpt2", [END_OF_TEXT], size) for name, size in sizes.items()}
    texts = {"stories": str(path)}
    found = compare(tokenizers, texts, ComparisonConfig())
    found["throughput"] = measure_throughput(tokenizers, texts, num_threads=1)
    return record_of_stage("compare_tokenizers", config={"num_documents": 10}, statistics=found)


def test_each_question_has_its_table(record: Record) -> None:
    """A row for each tokenizer, a column for each text; the answers in sentences."""
    evidence = Evidence(settings=settings_of(), comparison=record)
    compression, throughput, vocabularies, *answers = comparison_blocks(evidence)
    assert isinstance(compression, Table)
    assert compression.header == ("tokenizer trained on", "text: stories")
    cell = record.statistics["compression"]["small"]["stories"]
    expected = f"{cell['bytes_per_token']:.3f} ± {cell['standard_error']:.3f}"
    assert compression.rows[0] == ("small", expected)
    assert isinstance(throughput, Table)
    assert [row[:2] for row in throughput.rows] == [("small", "stories"), ("large", "stories")]
    assert isinstance(vocabularies, Table)
    assert [row[1] for row in vocabularies.rows] == ["300", "340"]
    texts = [answer.text for answer in answers if isinstance(answer, Text)]
    assert texts[0].startswith("small and large share 300 tokens")
    assert "large: the largest id is 339, so uint16" in texts[2]


def test_without_a_comparison_nothing_is_shown() -> None:
    """The tokenizer card stands alone."""
    assert comparison_blocks(Evidence(settings=settings_of())) == ()
