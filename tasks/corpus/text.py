"""The text of a corpus artifact: its name, where any stage reads it in place, its size."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from artifacts.identity import Reference
from artifacts.published.reading import local_file
from artifacts.record import Record
from artifacts.store import Store, file_uri, list_records, reference_of
from tasks.corpus.source import Source
from tasks.execution.prediction import Outlook

OPENING_BYTES = 1000
"""Of a text, in which its first words are looked for."""

PROMPT_CHARACTERS = 24
"""About the length of a prompt that one types."""


def text_name(split: str) -> str:
    """Return the name of a split's text in its corpus artifact."""
    return f"{split}.txt"


def text_location(store: Store, text: Reference, split: str) -> str:
    """Return the local path or the URL of a split's text; large texts are read by byte range."""
    return file_uri(store, text, text_name(split))


def published_text(store: Store, source: Source) -> Path | None:
    """Return a split's text if the store has it, by the source's hash; fetches it if remote."""
    for record in list_records(store, "download"):
        known = record.config.get("split"), record.config.get("sha256")
        if source.sha256 and known == (source.split, source.sha256):
            return local_file(store, reference_of(store, record), text_name(source.split))
    return None


def opening_words(store: Store, text: Reference, split: str) -> str:
    """Return how a split's text begins; "" where it cannot be read."""
    from tokenizer.text.windows import open_source, read_bytes

    with suppress(OSError), open_source(text_location(store, text, split)) as source:
        return first_words(read_bytes(source, 0, OPENING_BYTES).decode("utf-8", "ignore"))
    return ""


def first_words(text: str) -> str:
    r"""Return the first words of a text, as many as make a short prompt, or a part of one.

    >>> first_words("***\nCall me Ishmael. Some years ago, never mind how long precisely")
    'Call me Ishmael. Some'
    """
    lines = (" ".join(line.split()) for line in text.lstrip("\ufeff").splitlines())
    line = next((line for line in lines if any(map(str.isalnum, line))), "")
    if len(line) <= PROMPT_CHARACTERS:
        return line
    start = line[: PROMPT_CHARACTERS + 1]
    return start.rpartition(" ")[0] or start[:-1]


def text_bytes(record: Record) -> int:
    """Return the bytes of text that an artifact was made from."""
    return int(record.statistics["size_bytes"])


def known_text_bytes(outlook: Outlook, split: str) -> int | None:
    """Return the size of a split's text: as its source tells, or as this corpus had it before."""
    if (told := outlook.text_bytes.get(split)) is not None:
        return told
    for record in outlook.of_stage("download"):
        if (record.config["split"], record.labels.get("corpus")) == (split, outlook.corpus):
            return text_bytes(record)
    return None


def with_source(outlook: Outlook, source: Source) -> Outlook:
    """Add what a split's source tells of its size."""
    size_bytes = source.text_bytes
    for record in outlook.of_stage("download"):
        known = record.config.get("split"), record.config.get("sha256")
        if source.sha256 and known == (source.split, source.sha256):
            size_bytes = int(record.statistics.get("size_bytes", 0)) or size_bytes
    if size_bytes is None:
        return outlook
    return replace(outlook, text_bytes={**outlook.text_bytes, source.split: size_bytes})
