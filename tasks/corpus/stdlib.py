"""The text that every Python installation carries: its documentation topics and its sources.

It needs no network, so it is the first run's corpus. The same Python gives the same bytes;
another version or distribution gives others, and the content hash in the fingerprint tells
them apart.
"""

import hashlib
import importlib
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

VALID_SHARE = 16
"""One document in so many goes to the validation split, by a hash of its name."""

LEFT_OUT = frozenset(
    {"antigravity", "idlelib", "lib2to3", "pydoc_data", "test", "tests", "this", "turtledemo"}
)
"""Modules and folders with nothing to learn from: tests, demos, generated tables."""


SPLITS = ("train", "valid")


def stdlib_text(split: str, separator: str) -> Iterator[bytes]:
    """Yield the bytes of one split's text file, with `separator` between the documents."""
    between = f"\n{separator}\n".encode()
    for number, document in enumerate(stdlib_documents(split)):
        yield between + document if number else document


def stdlib_documents(split: str) -> Iterator[bytes]:
    """Yield the documents of one split, in an order that depends on their names only.

    Raises:
        FileNotFoundError: This Python carries no sources.
    """
    sources = _sources()
    if not sources:
        raise FileNotFoundError(
            f"this Python ({sys.version.split()[0]}) carries no readable library sources; "
            "name a corpus of your own with corpus.train and corpus.valid"
        )
    for name, text in _topics():
        if _split_of(name) == split:
            yield text
    for path in sources:
        name = path.relative_to(_library()).as_posix()
        if _split_of(name) == split and (text := path.read_bytes().strip()):
            yield text


def _split_of(name: str) -> str:
    digest = hashlib.sha256(name.encode()).digest()
    return "valid" if digest[0] % VALID_SHARE == 0 else "train"


def _library() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _topics() -> Iterator[tuple[str, bytes]]:
    topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    for name in sorted(topics):
        yield f"topic:{name}", topics[name].strip().encode()


def _sources() -> list[Path]:
    library = _library()
    modules = sorted(sys.stdlib_module_names - LEFT_OUT)
    files = [path for name in modules if (path := library / f"{name}.py").is_file()]
    for name in modules:
        files += (
            path
            for path in (library / name).rglob("*.py")
            if not LEFT_OUT & set(path.relative_to(library).parts)
        )
    return sorted(files)
