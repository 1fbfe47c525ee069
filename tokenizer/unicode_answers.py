"""The course's questions about Unicode, answered by running them (CS336 A1, section 2).

Problems `unicode1` and `unicode2`; nothing here is typed that Python can tell.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

TEXTS = {
    "English": "this is a test of the encodings",
    "German": "Grüße aus Köln",
    "Russian": "добрый день",
    "Chinese": "你好，世界",
    "emoji": "🙃👋🌍",
}
"""Short texts in scripts that UTF-8 writes with one to four bytes a character."""

ENCODINGS = ("utf-8", "utf-16-le", "utf-32-le")
"""Without byte-order marks, which would count against short texts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NullCharacter:
    """What `chr(0)` is (`unicode1`)."""

    code_point: str
    category: str
    """Unicode's general category: Cc is a control character."""
    representation: str
    """What `repr` writes, as a person reads it."""
    is_printable: bool
    """Whether a terminal shows anything for it."""
    text: str
    """The representation of a text with the character in it."""
    text_length: int
    """Characters of that text: printing it shows one fewer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodingSize:
    """What an encoding makes of a text (`unicode2`, a)."""

    encoding: str
    num_bytes: int
    num_zero_bytes: int
    """Bytes that carry nothing but would be in the training text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WrongDecoding:
    """Where decoding byte by byte fails (`unicode2`, b)."""

    num_right: int
    """Characters, each encoded alone, that it decodes right."""
    num_wrong: int
    """Characters on which it raises."""
    example: str
    """The first of these."""
    example_bytes: bytes
    error: str


@dataclass(frozen=True, kw_only=True, slots=True)
class UndecodablePairs:
    """Which pairs of bytes are not UTF-8 (`unicode2`, c)."""

    num_pairs: int
    num_decodable: int
    example: bytes
    """The first pair of a lead byte and a continuation byte that is no character all the same."""
    error: str


def null_character() -> NullCharacter:
    """Answer `unicode1`: the character, its representation, and what it does in a text."""
    null = chr(0)
    text = f"this is a test{null}string"
    return NullCharacter(
        code_point=f"U+{ord(null):04X}",
        category=unicodedata.category(null),
        representation=repr(null),
        is_printable=null.isprintable(),
        text=repr(text),
        text_length=len(text),
    )


def encoding_sizes(texts: Mapping[str, str] | None = None) -> dict[str, list[EncodingSize]]:
    """Answer `unicode2` (a): how long the texts become in UTF-8, UTF-16 and UTF-32."""
    sizes = {}
    for name, text in (texts or TEXTS).items():
        encoded = {encoding: text.encode(encoding) for encoding in ENCODINGS}
        sizes[name] = [
            EncodingSize(encoding=encoding, num_bytes=len(data), num_zero_bytes=data.count(0))
            for encoding, data in encoded.items()
        ]
    return sizes


def decode_byte_by_byte(data: bytes) -> str:
    """Decode each byte alone, as the course's wrong function does."""
    return "".join(bytes([byte]).decode("utf-8") for byte in data)


def wrong_decoding(num_characters: int = 0x3000) -> WrongDecoding:
    """Answer `unicode2` (b) by trying every character below `num_characters`."""
    wrong = [char for char in map(chr, range(num_characters)) if _error_of_bytes(char)]
    return WrongDecoding(
        num_right=num_characters - len(wrong),
        num_wrong=len(wrong),
        example=wrong[0],
        example_bytes=wrong[0].encode("utf-8"),
        error=_error_of_bytes(wrong[0]),
    )


def undecodable_pairs() -> UndecodablePairs:
    """Answer `unicode2` (c) by trying all pairs of bytes."""
    pairs = [bytes([first, second]) for first in range(256) for second in range(256)]
    bad = [pair for pair in pairs if _error_of(pair)]
    # 110xxxxx 10xxxxxx has the form of a character of two bytes.
    well_formed = next(pair for pair in bad if pair[0] >> 5 == 0b110 and pair[1] >> 6 == 0b10)
    return UndecodablePairs(
        num_pairs=len(pairs),
        num_decodable=len(pairs) - len(bad),
        example=well_formed,
        error=_error_of(well_formed),
    )


def _error_of(data: bytes) -> str:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return str(error)
    return ""


def _error_of_bytes(character: str) -> str:
    try:
        decode_byte_by_byte(character.encode("utf-8"))
    except UnicodeDecodeError as error:
        return str(error)
    return ""
