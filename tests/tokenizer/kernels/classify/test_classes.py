"""The committed classes of characters: those of the pinned `regex`."""

from pathlib import Path

import numpy as np
import pytest
import regex

from tokenizer.kernels.classify import class_ranges
from tokenizer.kernels.classify.class_ranges import CLASS_TABLE_SHA256
from tokenizer.kernels.classify.classes import (
    DIGIT,
    LETTER,
    OTHER,
    WHITESPACE,
    class_table,
    regex_classes,
    table_sha256,
    write_class_ranges,
)


def test_committed_ranges_are_the_classes_of_regex() -> None:
    """Every code point has the class that the installed `regex` gives it; else `make golden`."""
    assert np.array_equal(class_table(), regex_classes())


def test_the_hash_is_of_the_table() -> None:
    """The hash that goes into fingerprints is that of the table in use."""
    assert table_sha256(class_table()) == CLASS_TABLE_SHA256


@pytest.mark.parametrize(
    ("character", "expected"),
    [
        *[("a", LETTER), ("é", LETTER), ("中", LETTER), ("ª", LETTER), ("9", DIGIT), ("½", DIGIT)],
        *[("Ⅷ", DIGIT), ("\u3000", WHITESPACE), ("\x85", WHITESPACE), ("\x1c", OTHER)],
        *[("\u200b", OTHER), ("\u0301", OTHER), ("'", OTHER), ("\udc80", OTHER)],
    ],
)
def test_classes_are_unicode_s(character: str, expected: int) -> None:
    """Letters, numbers and whitespace of all kinds have their class; the rest is other."""
    assert class_table()[ord(character)] == expected


def test_writing_the_ranges_again_changes_nothing(tmp_path: Path) -> None:
    """What `make golden` writes is the committed file, so it is reproducible."""
    write_class_ranges(tmp_path / "class_ranges.py")
    committed = Path(class_ranges.__file__).read_text(encoding="utf-8")
    assert (tmp_path / "class_ranges.py").read_text(encoding="utf-8") == committed
    assert regex.__version__ in committed
