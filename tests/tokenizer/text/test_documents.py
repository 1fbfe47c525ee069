"""Documents: what one is, one pass over a corpus file, duplicates, and text from Parquet."""

import gzip
import hashlib
import re
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import byte_strings
from tokenizer.text import documents
from tokenizer.text.documents import (
    DocumentHasher,
    corpus_statistics,
    count_duplicates,
    write_text_from_parquet,
)

SEPARATOR = b"<|endoftext|>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the files of property tests, each overwritten by the next example."""
    return tmp_path_factory.mktemp("documents")


@given(
    st.lists(
        byte_strings(9) | st.sampled_from([SEPARATOR, SEPARATOR[:5], b"\r", b"\n", b"\r\n", b"x"]),
        min_size=1,
    ),
    st.integers(1, 40),
)
@example(parts=[b"x", b"\n" * 14, SEPARATOR, b"y"], window_bytes=1)
def test_statistics_in_windows_are_those_of_the_whole(
    folder: Path, parts: list[bytes], window_bytes: int
) -> None:
    """However a file falls into windows, all counts and hashes are those of the file at once."""
    data = b"".join(parts)
    expected = [piece.strip(b"\r\n") for piece in data.split(SEPARATOR)]
    expected = [piece for piece in expected if piece]
    if not expected:
        return
    path = folder / "corpus.txt"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "_WINDOW_BYTES", window_bytes)
        statistics = corpus_statistics(path)
    text = data.decode("utf-8", "surrogateescape")
    assert statistics.size_bytes == len(data)
    assert statistics.num_documents == len(expected)
    assert statistics.num_cr == data.count(b"\r")
    assert statistics.num_lf == data.count(b"\n")
    assert statistics.num_crlf == data.count(b"\r\n")
    assert statistics.num_invalid_utf8_spans == len(re.findall("[\udc80-\udcff]+", text))
    hashes = [hashlib.blake2b(document, digest_size=8).digest() for document in expected]
    assert sorted(int.from_bytes(one, "little") for one in hashes) == [
        int(one) for one in statistics.document_hashes
    ]


def test_line_ends_round_a_document_do_not_make_it_another(tmp_path: Path) -> None:
    """The newline that the layout puts round a separator does not count in duplicates."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"one\ntwo\n<|endoftext|>\nthree\n<|endoftext|>\n")
    second.write_bytes(b"three<|endoftext|>one\ntwo<|endoftext|>one\ntwo\r\n")
    train, valid = corpus_statistics(first), corpus_statistics(second)
    assert (train.num_documents, valid.num_documents) == (2, 3)
    assert count_duplicates(valid.document_hashes, train.document_hashes) == 3
    assert count_duplicates(train.document_hashes, valid.document_hashes) == 2
    assert len(np.unique(valid.document_hashes)) == 2


def test_duplicates_with_an_empty_side_are_none() -> None:
    """No documents on one side means no duplicates."""
    nothing, some = np.zeros(0, np.uint64), np.array([1, 2**64 - 1], np.uint64)
    assert count_duplicates(nothing, some) == 0
    assert count_duplicates(some, nothing) == 0
    assert count_duplicates(some, np.array([2, 2**64 - 1], np.uint64)) == 1


@pytest.mark.parametrize("data", [b"", b"\n\r\n<|endoftext|>\n<|endoftext|>"])
def test_a_corpus_without_documents_is_refused(tmp_path: Path, data: bytes) -> None:
    """An empty file, or one with separators and line ends alone, is an error that names it."""
    path = tmp_path / "nothing.txt"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"nothing\.txt .*document"):
        corpus_statistics(path)


def test_one_document_and_no_separator_is_a_corpus(tmp_path: Path) -> None:
    """A file that never ends its document has one."""
    path = tmp_path / "one.txt"
    path.write_bytes(b"\xff\xfe all of it \n")
    statistics = corpus_statistics(path)
    assert statistics.num_documents == 1
    assert statistics.num_invalid_utf8_spans == 1
    expected = hashlib.blake2b(b"\xff\xfe all of it ", digest_size=8).digest()
    assert statistics.document_hashes.tolist() == [int.from_bytes(expected, "little")]


@pytest.mark.parametrize(
    ("name", "num_documents"),
    [("tinystories-valid", 1_164), ("openwebtext-valid", 108), ("webtext-standin-valid", 488)],
)
def test_real_files_have_the_documents_they_are_known_to_have(
    shared_data: Path, tmp_path: Path, name: str, num_documents: int
) -> None:
    """The counts are those of the data's own table; it is clean UTF-8 with LF line ends."""
    path = tmp_path / "text.txt"
    path.write_bytes(gzip.decompress((shared_data / f"{name}.txt.gz").read_bytes()))
    statistics = corpus_statistics(path)
    assert statistics.num_documents == num_documents
    assert (statistics.num_invalid_utf8_spans, statistics.num_cr) == (0, 0)
    assert len(np.unique(statistics.document_hashes)) == num_documents


def test_progress_ends_at_the_size(tmp_path: Path) -> None:
    """The callback hears bytes done and bytes in all, the last time the whole size."""
    path = tmp_path / "some.txt"
    path.write_bytes(b"text\n" * 200_000)
    calls: list[tuple[int, int]] = []
    corpus_statistics(path, on_progress=lambda done, total: calls.append((done, total)))
    assert calls == sorted(calls)
    assert calls[-1] == (1_000_000, 1_000_000)


def test_a_remote_corpus_is_read_as_a_local_one() -> None:
    """Any fsspec URL is a corpus."""
    data = b"one<|endoftext|>two"
    with fsspec.open("memory://corpus/text.txt", "wb") as stream:
        stream.write(data)
    assert corpus_statistics("memory://corpus/text.txt").num_documents == 2


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary()])
def test_parquet_text_becomes_documents(tmp_path: Path, kind: pa.DataType) -> None:
    """Each row is a document in the layout of the public files; rows without text are left out."""
    rows = ["one", None, "", "\n", "two\nlines", "世界"]
    values = [row.encode() if row and pa.types.is_binary(kind) else row for row in rows]
    table = pa.table({"text": pa.array(values, kind), "id": range(6)})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=2)
    destination = tmp_path / "out.txt"
    assert write_text_from_parquet(tmp_path / "in.parquet", destination) == 3
    expected = "one\n<|endoftext|>\ntwo\nlines\n<|endoftext|>\n世界\n<|endoftext|>\n"
    assert destination.read_text() == expected
    assert corpus_statistics(destination).num_documents == 3


@pytest.mark.parametrize(
    ("column", "message"),
    [("body", "has no column 'body'; it has text, id"), ("id", "must hold text or bytes, not")],
)
def test_a_wrong_parquet_column_leaves_nothing_behind(
    tmp_path: Path, column: str, message: str
) -> None:
    """The error names what there is, and no half-written corpus stays."""
    pq.write_table(pa.table({"text": ["a"], "id": [1]}), tmp_path / "in.parquet")
    with pytest.raises(ValueError, match=message):
        write_text_from_parquet(tmp_path / "in.parquet", tmp_path / "out.txt", column=column)
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_a_parquet_file_without_text_is_refused(tmp_path: Path) -> None:
    """A column of nothing is an empty corpus."""
    pq.write_table(pa.table({"text": pa.array([None, ""], pa.string())}), tmp_path / "in.parquet")
    with pytest.raises(ValueError, match="holds no document"):
        write_text_from_parquet(tmp_path / "in.parquet", tmp_path / "out.txt")
    assert not (tmp_path / "out.txt").exists()


def test_a_damaged_parquet_file_is_named_in_one_line(tmp_path: Path) -> None:
    """Arrow itself says neither which file it is nor one line."""
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"text": ["a" * 1000]}), path)
    path.write_bytes(path.read_bytes()[:-4] + b"XXXX")
    with pytest.raises(ValueError, match=r"in\.parquet is no whole Parquet file") as error:
        write_text_from_parquet(path, tmp_path / "out.txt")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("error", [FileNotFoundError(2, "gone"), OSError(28, "no space left")])
def test_an_error_of_the_storage_stays_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """A file that is gone, or a full disk, says nothing about the file's content."""

    def fail(stream: object) -> None:
        raise error

    (tmp_path / "in.parquet").touch()
    monkeypatch.setattr(pq, "ParquetFile", fail)
    with pytest.raises(OSError, match=str(error.strerror)) as caught:
        write_text_from_parquet(tmp_path / "in.parquet", tmp_path / "out.txt")
    assert caught.value is error


def test_parquet_progress_counts_all_rows(tmp_path: Path) -> None:
    """Those without text, too."""
    table = pa.table({"text": ["a", None, "b"]})
    pq.write_table(table, tmp_path / "in.parquet")
    calls: list[tuple[int, int]] = []
    write_text_from_parquet(
        tmp_path / "in.parquet",
        tmp_path / "out.txt",
        on_progress=lambda done, total: calls.append((done, total)),
    )
    assert calls[-1] == (3, 3)


def test_ended_documents_are_counted() -> None:
    """One of line ends alone is none."""
    hasher = DocumentHasher()
    for piece in (b"one\n", b"\n", b"two"):
        hasher.update(piece, is_end=True)
    assert hasher.num_documents == len(hasher.hashes()) == 2
