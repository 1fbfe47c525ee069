"""GPT-2's way to write bytes as printable characters, which its files and Hugging Face use.

Source: openai/gpt-2 src/encoder.py, `bytes_to_unicode`. The 188 bytes that are visible in Latin-1
are written as they are; the other 68 (controls, spaces, soft hyphen) as U+0100 onwards.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

_VISIBLE = (*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(0xAE, 0x100))
_HIDDEN = tuple(byte for byte in range(256) if byte not in _VISIBLE)

BYTE_ORDER: tuple[int, ...] = _VISIBLE + _HIDDEN
"""The 256 bytes ordered by their characters: GPT-2's token ids, and Hugging Face's alphabet."""

_CHARACTER_OF = {byte: chr(byte) for byte in _VISIBLE} | {
    byte: chr(0x100 + index) for index, byte in enumerate(_HIDDEN)
}
_BYTE_OF = {character: byte for byte, character in _CHARACTER_OF.items()}


def bytes_to_characters(data: bytes) -> str:
    """Write bytes as printable characters, one for each byte.

    >>> bytes_to_characters(b" the")
    'Ġthe'
    """
    return "".join(map(_CHARACTER_OF.__getitem__, data))


def characters_to_bytes(text: str) -> bytes:
    """Read what `bytes_to_characters` wrote; `ValueError` names a character it never writes."""
    try:
        return bytes(map(_BYTE_OF.__getitem__, text))
    except KeyError as error:
        raise ValueError(
            f"{text!r} holds {error.args[0]!r}, which stands for no byte in GPT-2's files; "
            "the file was not written with GPT-2's byte-to-unicode table"
        ) from error


def all_characters_to_bytes(texts: Sequence[str]) -> list[bytes] | None:
    """Read many texts at once, in half the time; None when `characters_to_bytes` refuses one."""
    try:
        data = bytes(map(_BYTE_OF.__getitem__, "".join(texts)))
    except KeyError:
        return None
    ends = accumulate(map(len, texts), initial=0)  # a character is a byte
    return [data[start:stop] for start, stop in pairwise(ends)]
