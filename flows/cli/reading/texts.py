"""The texts that commands read: in every form that `owt run` takes, and stdin."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tasks.corpus.config import CorpusConfig

if TYPE_CHECKING:
    from tasks.corpus.source import Source

STDIN = "-"


@contextmanager
def plain_texts(
    inputs: Sequence[str],
    *,
    separator: str,
    text_column: str = "text",
    option: str = "--input",
) -> Iterator[list[Path]]:
    """Give the inputs as plain text files; those that are not are unpacked in a temporary folder.

    Args:
        inputs: Paths of files or folders, addresses, or `-` for standard input.
        separator: What is written between the documents of a folder or a Parquet file.
        text_column: Column of a Parquet file that holds the documents.
        option: What gave the inputs, for messages.

    Raises:
        FileNotFoundError: There is no such file, or a folder without a text.
        UnreachableError: Nobody answers at an address.
        ValueError: A text is empty or damaged.
    """
    with TemporaryDirectory(prefix="owt-") as folder:
        texts = []
        for number, given in enumerate(inputs):
            place = Path(folder, str(number))
            place.mkdir()
            text = (
                _read_stdin(place)
                if given == STDIN
                else _open(given, place, separator, text_column, option)
            )
            if not text.stat().st_size:
                raise ValueError(f"{option} ({given}) is empty; there is nothing to read in it")
            texts.append(text)
        yield texts


def _read_stdin(place: Path) -> Path:
    from artifacts.fetching.unpacking import unpack

    packed, text = place / "stdin", place / "stdin.txt"
    with packed.open("wb") as file:
        while block := sys.stdin.buffer.read(2**20):
            file.write(block)
    unpack(packed, text)  # gzip and zstd are known by their first bytes
    packed.unlink()
    return text


def _open(given: str, place: Path, separator: str, text_column: str, option: str) -> Path:
    from artifacts.fetching.fetch import UnreachableError
    from tasks.corpus.plain import plain_text
    from tasks.corpus.source import source_of

    corpus = CorpusConfig(
        train=given, valid=given, document_separator=separator, text_column=text_column
    )
    source = source_of(corpus, "train")
    _check_is_there(source, option)
    try:
        return plain_text(source, place, place / "text.txt")
    except UnreachableError as error:
        raise UnreachableError(f"{option} ({given}) cannot be reached: {error.reason}") from error


def _check_is_there(source: "Source", option: str) -> None:
    path = source.local_path
    if path is not None and source.form != "folder" and not path.is_file():
        raise FileNotFoundError(
            f"{option} ({source.uri}) is not a readable file; give a text, .gz, .zst or .parquet "
            "file, a folder of texts, an address, or - for standard input"
        )
