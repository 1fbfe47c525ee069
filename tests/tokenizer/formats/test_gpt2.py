"""GPT-2's files: exact bytes written and read, and clear words about files that are wrong."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenizer.formats.gpt2 import (
    format_merges,
    format_vocab,
    merges_digest,
    read_merges,
    read_vocab,
)

AWKWARD = [
    b" ",
    b"\n",
    b"\r\n",
    b"\xff\xfe",
    b"\xe4\xb8",
    b"\x00",
    b"#version",
    b"\xc2\x85",
    b'"\\',
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the files of property tests, each overwritten by the next example."""
    return tmp_path_factory.mktemp("gpt2")


def test_gpt2_files_are_written_as_they_were_read(shared_data: Path, tmp_path: Path) -> None:
    """Reading OpenAI's files and writing them gives the same vocabulary and merges again."""
    vocab = read_vocab(shared_data / "gpt2" / "vocab.json")
    merges = read_merges(shared_data / "gpt2" / "merges.txt")
    assert (len(vocab), len(merges)) == (50_257, 50_000)
    assert format_merges(merges) == (shared_data / "gpt2" / "merges.txt").read_text()
    (tmp_path / "vocab.json").write_text(format_vocab(vocab))
    assert read_vocab(tmp_path / "vocab.json") == vocab


@given(st.lists(st.tuples(*[st.binary(min_size=1) | st.sampled_from(AWKWARD)] * 2), max_size=9))
def test_any_merges_survive(folder: Path, merges: list[tuple[bytes, bytes]]) -> None:
    """Spaces, line ends and invalid UTF-8 in tokens break no line and lose no byte."""
    merges = [(b"#", b"v"), *merges]  # the first merge of any training joins two bytes
    path = folder / "merges.txt"
    path.write_bytes(format_merges(merges).encode())
    assert path.read_bytes().count(b"\n") == len(merges)
    assert read_merges(path) == merges


@given(st.sets(st.binary() | st.sampled_from(AWKWARD)))
def test_any_vocabulary_survives(folder: Path, tokens: set[bytes]) -> None:
    """vocab.json keeps every token's bytes and ids, in the order of the ids."""
    vocab = dict(enumerate(sorted(tokens)))
    path = folder / "vocab.json"
    path.write_text(format_vocab(vocab), encoding="utf-8")
    assert read_vocab(path) == vocab
    assert list(json.loads(path.read_text(encoding="utf-8")).values()) == sorted(vocab)


def test_version_line_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    """Files of other tools, with a header or CR LF, are read; ours have neither."""
    path = tmp_path / "merges.txt"
    path.write_bytes("#version: 0.2\r\nĠ t\r\n# v\r\n".encode())
    assert read_merges(path) == [(b" ", b"t"), (b"#", b"v")]
    assert format_merges([(b" ", b"t")]) == "Ġ t\n"
    path.write_bytes(b"")
    assert read_merges(path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a b\nab\n", "line 2: 'ab' must be two tokens"),
        ("a  b\n", "line 1: .* holds ' '"),
        ("a b\n\nc d\n", "line 2: '' must be two tokens"),
        ("#version: 1\na 世\n", "line 2: '世' holds '世', which stands for no byte"),
    ],
)
def test_wrong_merges_name_the_line(tmp_path: Path, content: str, message: str) -> None:
    """A line that is no merge is an error with its number and what is wrong."""
    path = tmp_path / "merges.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_merges(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON"),
        ('{"a": 0', "is not JSON"),
        ("[]", "must be a JSON object of token to id, not list"),
        ('{"a": "0"}', "the id of 'a' is '0'; it must be an integer"),
        ('{"a": true}', "the id of 'a' is True"),
        ('{"a": 1, "b": 1}', "both have id 1"),
        ('{"世": 0}', "'世' holds '世', which stands for no byte"),
    ],
)
def test_a_wrong_vocabulary_is_refused(tmp_path: Path, content: str, message: str) -> None:
    """A file that is no vocabulary is an error that says what is wrong."""
    path = tmp_path / "vocab.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_vocab(path)


def test_raw_special_tokens_of_other_tools_are_read(tmp_path: Path) -> None:
    """A special token written as it is counts when it is named, and is an error when it is not."""
    path = tmp_path / "vocab.json"
    path.write_text('{"a": 0, "<｜end｜>": 1}', encoding="utf-8")
    assert read_vocab(path, ["<｜end｜>"]) == {0: b"a", 1: "<｜end｜>".encode()}
    with pytest.raises(ValueError, match="or it is a special token not given"):
        read_vocab(path)


def test_digest_is_that_of_the_file() -> None:
    """The digest is sha256 of `merges.txt`: the table, one space, one line feed, no header."""
    assert merges_digest([(b" ", b"t"), (b"\n", b"\xff")]) == (
        "469f3f8cd9810a94329bd0c40c430617c57484f45a6c2aff2d6bc472e52c7b7f"
    )
