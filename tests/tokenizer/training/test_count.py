"""Counting: the reference's counts, for any number of threads, any ranges and any file system."""

from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenizer.samples import as_dict
from tokenizer import reference
from tokenizer.text.ranges import byte_ranges
from tokenizer.training.count import count_pretokens
from tokenizer.training.count_tables import merge

SPECIAL_TOKENS = ["<|endoftext|>", "<|end"]
TEXT = (
    "It's a small world, 123 words;\u00a0and Ünïcödé too. \n\n  Next\tline'll\u3000do<|endoftext|>"
    "once upon a time, <|end of it\r\n" * 40
).encode() + b"\xff\xfe broken \xe2\x82"


def test_counts_are_the_reference_s(tmp_path: Path) -> None:
    """A text with special tokens, wide characters and invalid bytes is counted exactly."""
    path = tmp_path / "text"
    path.write_bytes(TEXT)
    for pattern in ("gpt2", "cl100k", r"\w+|\W"):
        counts = count_pretokens(path, pattern=pattern, special_tokens=SPECIAL_TOKENS)
        expected = reference.count_pretokens(TEXT, pattern=pattern, special_tokens=SPECIAL_TOKENS)
        assert as_dict(counts) == expected


@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_parallel_counts_equal_serial_counts(tmp_path: Path, num_threads: int) -> None:
    """The number of threads and the division into ranges make no difference."""
    path = tmp_path / "text"
    data = TEXT * 300
    path.write_bytes(data)
    serial = as_dict(count_pretokens(path, special_tokens=SPECIAL_TOKENS))
    parallel = count_pretokens(path, special_tokens=SPECIAL_TOKENS, num_threads=num_threads)
    assert as_dict(parallel) == serial
    ranges = byte_ranges(path, 10**5, special_tokens=SPECIAL_TOKENS, pattern="gpt2")
    parts = [
        count_pretokens(path, start=start, stop=stop, special_tokens=SPECIAL_TOKENS)
        for start, stop in ranges
    ]
    assert as_dict(merge(parts)) == serial
    assert list(serial) == sorted(serial)


def test_a_remote_text_is_counted_like_a_local_one(tmp_path: Path) -> None:
    """An fsspec URL gives the counts of the local file."""
    path = tmp_path / "text"
    path.write_bytes(TEXT)
    fsspec.filesystem("memory").pipe_file("/count/text", TEXT)
    remote = count_pretokens("memory://count/text", special_tokens=SPECIAL_TOKENS)
    assert as_dict(remote) == as_dict(count_pretokens(path, special_tokens=SPECIAL_TOKENS))


@given(data=st.binary(max_size=200))
def test_any_bytes_are_counted_like_the_reference(
    data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Arbitrary bytes, valid UTF-8 or not, give the reference's counts."""
    path = tmp_path_factory.mktemp("text") / "text"
    path.write_bytes(data)
    assert as_dict(count_pretokens(path)) == reference.count_pretokens(data, pattern="gpt2")


def test_progress_reaches_the_size(tmp_path: Path) -> None:
    """The callback sees growing byte counts that end at the size of the range."""
    path = tmp_path / "text"
    path.write_bytes(TEXT * 700)
    seen: list[tuple[int, int]] = []
    count_pretokens(path, num_threads=2, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (len(TEXT) * 700, len(TEXT) * 700)


def test_an_empty_text_has_no_pretokens(tmp_path: Path) -> None:
    """An empty file gives empty counts."""
    path = tmp_path / "text"
    path.write_bytes(b"")
    assert len(count_pretokens(path)) == 0


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    """Threads below one and ranges outside the text are named in the error."""
    path = tmp_path / "text"
    path.write_bytes(b"abc")
    with pytest.raises(ValueError, match=r"num_threads \(0\)"):
        count_pretokens(path, num_threads=0)
    with pytest.raises(ValueError, match="bytes 1 to 9 do not lie in"):
        count_pretokens(path, start=1, stop=9)
