"""The forms that a text comes in, told by the name, and how each becomes plain text."""

from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Literal

from artifacts.fetching.unpacking import unpack

Form = Literal["text", "gzip", "zstd", "parquet", "folder"]

SUFFIX_FORMS: dict[str, Form] = {".gz": "gzip", ".zst": "zstd", ".parquet": "parquet"}


TEXT_TO_FILE: dict[Form, float] = {"gzip": 2.6, "zstd": 2.8, "parquet": 1.7}
"""Bytes of English text to a byte of packed file, for predictions only. gzip: 11.92 GB of
OpenWebText to 4.59 GB; the others are rough."""


def form_of(path: PurePath) -> Form:
    """Return the form of a file by the ending of its name."""
    return SUFFIX_FORMS.get(path.suffix.lower(), "text")


def unpacked_bytes(path: Path) -> int:
    """Return about how much text a file holds, from its size alone."""
    return int(path.stat().st_size * TEXT_TO_FILE.get(form_of(path), 1))


def write_unpacked(
    source: Path,
    destination: Path,
    *,
    separator: str,
    text_column: str,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a packed or Parquet file as a plain text; progress is in bytes, or in rows."""
    form = form_of(source)
    if form == "parquet":
        from tokenizer.text.documents import write_text_from_parquet

        write_text_from_parquet(
            source, destination, column=text_column, separator=separator, on_progress=on_progress
        )
    else:
        # By the name: `infer` looks at it first.
        unpack(source, destination, on_progress=on_progress)
