"""`owt tokenizer` reads what `owt run` reads, refuses empty texts, and overwrites nothing."""

import gzip
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import zstandard

from flows.cli import tokenizer as command
from tests.tokenizer.samples import SAMPLE
from tokenizer.encoding.tokenizer import Tokenizer

TEXT = SAMPLE.encode()


def trained(folder: Path, given: str, *, overwrite: bool = False) -> list[tuple[bytes, bytes]]:
    """Train on an input; return the merges."""
    command.train(given, folder, vocab_size=280, overwrite=overwrite, threads=1)
    return Tokenizer.from_folder(folder).merges


@pytest.fixture(scope="module")
def merges(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[bytes, bytes]]:
    """The merges of the plain text."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "text.txt").write_bytes(TEXT)
    return trained(folder / "tokenizer", str(folder / "text.txt"))


@pytest.mark.parametrize("form", ["gz", "zst", "folder", "file://", "-", "packed -"])
def test_every_form_of_a_text_gives_the_same_tokenizer(
    tmp_path: Path, form: str, merges: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A packed text is not taken as bytes."""
    path = tmp_path / f"text.{form}"
    given = str(path)
    if form == "gz":
        path.write_bytes(gzip.compress(TEXT))
    elif form == "zst":
        path.write_bytes(zstandard.compress(TEXT))
    elif form == "folder":
        path.mkdir()
        (path / "one.txt").write_bytes(TEXT)
    elif form == "file://":
        path = tmp_path / "text.txt"
        path.write_bytes(TEXT)
        given = path.as_uri()
    else:
        piped = gzip.compress(TEXT) if form == "packed -" else TEXT
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
        given = "-"
    assert trained(tmp_path / "tokenizer", given) == merges


def test_an_encoded_archive_decodes_to_its_text(tmp_path: Path, merges: object) -> None:
    """`encode` reads the same forms; what it writes decodes to the unpacked bytes."""
    packed, ids = tmp_path / "text.gz", tmp_path / "ids.npy"
    packed.write_bytes(gzip.compress(TEXT))
    trained(tmp_path / "tokenizer", str(packed))
    command.encode(str(packed), tmp_path / "tokenizer", ids, threads=1)
    decoded = Tokenizer.from_folder(tmp_path / "tokenizer").decode_bytes(np.load(ids).tolist())
    assert decoded == TEXT


def test_a_tokenizer_is_replaced_only_on_demand(tmp_path: Path, merges: object) -> None:
    """A folder with anything in it is left alone."""
    text = tmp_path / "text.txt"
    text.write_bytes(TEXT)
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    trained(folder, str(text))
    with pytest.raises(ValueError, match=r"is there already; .* or give --overwrite"):
        trained(folder, str(text))
    assert trained(folder, str(text), overwrite=True) == merges


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty.txt", r"--input \(.*empty\.txt\) is empty"),
        ("nowhere.txt", r"--input \(.*nowhere\.txt\) is not a readable file"),
        ("folder", r"folder .*folder is empty; put texts into it"),
        ("http://127.0.0.1:9/text.txt", "cannot be reached: Connection refused"),
    ],
)
def test_an_input_without_a_text_is_refused(tmp_path: Path, name: str, message: str) -> None:
    """Nothing is written."""
    (tmp_path / "empty.txt").touch()
    (tmp_path / "folder").mkdir()
    given = name if "://" in name else str(tmp_path / name)
    with pytest.raises((ValueError, OSError), match=message):
        trained(tmp_path / "tokenizer", given)
    assert not (tmp_path / "tokenizer").exists()


def test_ties_are_broken_as_asked(tmp_path: Path) -> None:
    """The rule of Hugging Face gives other merges where pairs tie."""
    text = tmp_path / "text.txt"
    text.write_text("ab cd")
    first = {}
    for rule in ("lexicographic", "huggingface"):
        command.train(str(text), tmp_path / rule, vocab_size=258, tie_break=rule, threads=1)
        first[rule] = Tokenizer.from_folder(tmp_path / rule).merges
    assert first["lexicographic"] != first["huggingface"]
