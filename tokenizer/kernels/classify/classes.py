"""The class of every character: letter, digit, whitespace or other, as `regex` sees it.

The classes are committed as ranges (`class_ranges.py`), because two versions of Unicode cut texts
differently: the pinned `regex` and tiktoken 0.14 disagree on 17,144 letters.
"""

import hashlib
import sys
from functools import cache
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokenizer.kernels.classify.class_ranges import CLASS_RANGES

OTHER, LETTER, DIGIT, WHITESPACE = range(4)

_NAMES = {LETTER: "letter", DIGIT: "digit", WHITESPACE: "whitespace"}
_HEAD = '''"""The classes of all characters as ranges of code points; written by `make golden`.

Made by `python -m tokenizer.kernels.classify.classes` with regex {version}.
"""

CLASS_TABLE_SHA256 = "{digest}"
"""Hash of the table over all code points, one byte each; part of a tokenizer's fingerprint."""

CLASS_RANGES: dict[str, str] = {{
'''


@cache
def class_table() -> NDArray[np.uint8]:
    """Return the class of every code point, from the committed ranges; (0x110000,) of uint8."""
    table = np.zeros(sys.maxunicode + 1, dtype=np.uint8)
    for value, name in _NAMES.items():
        for text in CLASS_RANGES[name].split():
            first, _, last = text.partition("-")
            table[int(first, 16) : int(last or first, 16) + 1] = value
    table.setflags(write=False)
    return table


def regex_classes() -> NDArray[np.uint8]:
    """Return the class of every code point as the installed `regex` sees it; takes seconds."""
    import regex

    # No UTF-8 text has surrogates. With surrogateescape they represent invalid bytes, and `regex`
    # gives them a class like any character.
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    table = np.zeros(len(every), dtype=np.uint8)
    for value, pattern in ((LETTER, r"\p{L}+"), (DIGIT, r"\p{N}+"), (WHITESPACE, r"\s+")):
        for match in regex.finditer(pattern, every):
            table[match.start() : match.end()] = value
    return table


def table_sha256(table: NDArray[np.uint8]) -> str:
    """Return the hash that identifies a table."""
    return hashlib.sha256(table.tobytes()).hexdigest()


def write_class_ranges(path: Path) -> None:
    """Write `class_ranges.py` anew from the installed `regex`."""
    import regex

    table = regex_classes()
    lines = [_HEAD.format(version=regex.__version__, digest=table_sha256(table))]
    for value, name in _NAMES.items():
        lines.append(f'    "{name}": """\n')
        line = ""
        for text in _ranges(table, value):
            if len(line) + len(text) > 98:
                lines.append(line.rstrip() + "\n")
                line = ""
            line += text + " "
        lines.append(line.rstrip() + '\n""",\n')
    path.write_text("".join(lines) + "}\n")


def _ranges(table: NDArray[np.uint8], value: int) -> list[str]:
    texts = []
    for is_member, group in groupby(enumerate((table == value).tolist()), lambda item: item[1]):
        if is_member:
            codes = [code for code, _ in group]
            end = "" if len(codes) == 1 else f"-{codes[-1]:x}"
            texts.append(f"{codes[0]:x}{end}")
    return texts


if __name__ == "__main__":
    write_class_ranges(Path(__file__).with_name("class_ranges.py"))
