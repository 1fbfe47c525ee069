"""A folder of texts: which files count, in which order, and what the hash depends on."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.corpus.config import CorpusConfig
from tasks.corpus.folder import folder_content, text_files
from tasks.corpus.plain import plain_text
from tasks.corpus.source import check_is_there, source_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Texts of every form, in two folders, among files that do not count."""
    folder = tmp_path / "texts"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.md").write_text("first")
    (folder / "b.txt.gz").write_bytes(gzip.compress(b"second", mtime=0))
    pq.write_table(pa.table({"text": ["third", "fourth"]}), folder / "c.parquet")
    (folder / "deep" / "d").write_text("fifth")
    (folder / "empty.txt").write_text("")
    (folder / "picture.png").write_bytes(b"\x89PNG\0\0")
    (folder / ".hidden").write_text("hidden")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("hidden")
    return folder


def test_the_texts_are_joined_in_the_order_of_their_paths(folder: Path, tmp_path: Path) -> None:
    """Hidden, empty and binary files are left out; packed ones count as what they hold."""
    assert [path.name for path in text_files(folder)] == ["a.md", "b.txt.gz", "c.parquet", "d"]
    source = source_of(CorpusConfig(train=str(folder)), "train")
    text = plain_text(source, tmp_path, tmp_path / "train.txt").read_text()
    documents = [piece.strip() for piece in text.split("<|endoftext|>")]
    assert [piece for piece in documents if piece] == [
        "first",
        "second",
        "third",
        "fourth",
        "fifth",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["texts", "train.txt"]


def test_the_hash_is_of_the_texts_alone(folder: Path, tmp_path: Path) -> None:
    """Moving the folder or adding what does not count changes nothing; a changed text does."""
    memo = tmp_path / "memo"
    before = folder_content(folder, memo)
    moved = folder.rename(tmp_path / "moved")
    (moved / ".more").write_text("hidden")
    assert folder_content(moved, memo) == before
    (moved / "a.md").write_text("changed")
    assert folder_content(moved, memo) != before


@pytest.mark.parametrize(
    ("files", "place", "message"),
    [
        ({}, "texts", "texts is empty; put texts into it"),
        ({".a": "hidden"}, "texts", "texts has no text: its only file is hidden"),
        ({"a": "", "b": "\0"}, "texts", "no text: its 2 files are all hidden, empty or binary"),
        ({}, "gone", r"no file or folder .*gone \(corpus.train\); correct the path"),
        ({"a": ""}, "texts/a", r"texts/a \(corpus.train\) is an empty file, of 0 bytes; give one"),
    ],
)
def test_a_place_without_a_text_is_refused(
    tmp_path: Path, files: dict[str, str], place: str, message: str
) -> None:
    """It is noticed before anything is read, and each case has its own line."""
    (tmp_path / "texts").mkdir()
    for name, text in files.items():
        (tmp_path / "texts" / name).write_text(text)
    config = CorpusConfig(train=str(tmp_path / place), valid="")
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        check_is_there(config)
