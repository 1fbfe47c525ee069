"""The flat form of counts, and its files."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenizer.samples import as_dict
from tokenizer.training.count_tables import read_counts
from tokenizer.training.counts import PretokenCounts, write_counts

dicts = st.dictionaries(st.binary(min_size=1, max_size=40), st.integers(1, 2**40), max_size=30)


@given(counts=dicts)
def test_flat_form_is_sorted_and_reversible(counts: dict[bytes, int]) -> None:
    """The flat form lists pretokens in byte order and turns back into the same dictionary."""
    flat = PretokenCounts.from_dict(counts)
    assert list(as_dict(flat).items()) == sorted(counts.items())
    assert len(flat) == len(counts)
    assert flat.num_pretokens == sum(counts.values())
    assert flat.num_bytes == sum(len(pretoken) * count for pretoken, count in counts.items())


@given(counts=dicts)
def test_files_are_read_back(
    counts: dict[bytes, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What is written is read back, and several files are added up."""
    path = tmp_path_factory.mktemp("counts") / "counts.parquet"
    write_counts(PretokenCounts.from_dict(counts), path)
    assert as_dict(read_counts([path])) == counts
    doubled = {pretoken: 2 * count for pretoken, count in counts.items()}
    assert as_dict(read_counts([path, path])) == doubled


def test_many_rows_are_written_in_batches(tmp_path: Path) -> None:
    """More rows than one batch holds come back in order, with the contract's columns."""
    counts = {index.to_bytes(3, "big"): index + 1 for index in range(70_000)}
    path = tmp_path / "counts.parquet"
    write_counts(PretokenCounts.from_dict(counts), path)
    assert as_dict(read_counts([path])) == counts
    schema = pq.read_schema(path)
    assert schema.names == ["pretoken", "count"]
    assert schema.field("pretoken").type == pa.large_binary()


def test_an_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    """Writing the same counts twice gives the same file, as a published artifact must."""
    counts = PretokenCounts.from_dict({b"a": 1, b"b": 2})
    write_counts(counts, tmp_path / "one")
    write_counts(counts, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    """A file of other columns, or with a count below 1, is refused by name."""
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"word": ["a"]}), path)
    with pytest.raises(ValueError, match=r"other\.parquet has the columns"):
        read_counts([path])
    pq.write_table(pa.table({"pretoken": [b"a"], "count": np.array([0])}), path)
    with pytest.raises(ValueError, match="holds the count 0"):
        read_counts([path])
    with pytest.raises(ValueError, match="at least one file"):
        read_counts([])
