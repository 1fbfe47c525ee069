"""The classes of the commonest characters beyond ASCII, 64 bytes at once.

A row says that all characters of a range of UTF-8 sequences have one class. What no row covers is
classified one by one (`wide_characters`). The tests compare every row with the class table.
"""

from collections.abc import Sequence
from typing import NamedTuple

from numba import types
from numba.extending import intrinsic

from tokenizer.kernels.classify.classes import LETTER, OTHER
from tokenizer.kernels.intrinsics import (
    all_bytes,
    bits_of,
    load_block,
    require_integer,
)
from tokenizer.kernels.untyped import Untyped

_ANY = (0x80, 0xBF)
"""All that may follow a first byte."""


class Row(NamedTuple):
    """Sequences with each byte in a range, both ends included, and the class of all of them."""

    kind: int
    first: tuple[int, int]
    second: tuple[int, int] = _ANY
    third: tuple[int, int] = _ANY


PUNCTUATION = Row(OTHER, (0xE2, 0xE2), (0x80, 0x80), (0x90, 0xA7))
"""Dashes, quotes and dots: in English text, nearly all that is not ASCII."""

TWO_BYTES = (
    Row(OTHER, (0xC2, 0xC2), (0xA1, 0xA9)),  # signs: § © and others
    Row(OTHER, (0xC2, 0xC2), (0xAB, 0xB1)),  # « ® ° and others
    Row(LETTER, (0xC3, 0xC3), (0x80, 0x96)),  # Latin
    Row(LETTER, (0xC3, 0xC3), (0x98, 0xB6)),
    Row(LETTER, (0xC3, 0xC3), (0xB8, 0xBF)),
    Row(LETTER, (0xC4, 0xCA)),
    Row(LETTER, (0xCE, 0xCE), (0xA3, 0xBF)),  # Greek
    Row(LETTER, (0xCF, 0xCF), (0x80, 0xB5)),
    Row(LETTER, (0xD0, 0xD1)),  # Cyrillic
    Row(LETTER, (0xD7, 0xD7), (0x90, 0xAA)),  # Hebrew
    Row(LETTER, (0xD8, 0xD8), (0xA0, 0xBF)),  # Arabic
    Row(LETTER, (0xD9, 0xD9), (0x80, 0x8A)),
)
THREE_BYTES = (
    Row(LETTER, (0xE1, 0xE1), (0xB8, 0xBB)),  # Latin, as in Vietnamese
    Row(OTHER, (0xE3, 0xE3), (0x80, 0x80), (0x81, 0x83)),  # Chinese and Japanese stops
    Row(LETTER, (0xE3, 0xE3), (0x81, 0x81), (0x81, 0xBF)),  # Hiragana
    Row(LETTER, (0xE3, 0xE3), (0x82, 0x82), (0x80, 0x96)),
    Row(LETTER, (0xE3, 0xE3), (0x82, 0x82), (0xA1, 0xBF)),  # Katakana
    Row(LETTER, (0xE3, 0xE3), (0x83, 0x83), (0x80, 0xBA)),
    Row(LETTER, (0xE4, 0xE4), (0xB8, 0xBF)),  # Chinese
    Row(LETTER, (0xE5, 0xE8)),
    Row(LETTER, (0xE9, 0xE9), (0x80, 0xBE)),
    Row(LETTER, (0xEA, 0xEA), (0xB0, 0xBF)),  # Korean
    Row(LETTER, (0xEB, 0xEC)),
    Row(LETTER, (0xED, 0xED), (0x80, 0x9D)),
)


def _in_range(
    builder: Untyped, blocks: Sequence[Untyped], place: int, ends: tuple[int, int]
) -> Untyped:
    """Compare the bytes at a place of each sequence with the ends of a range."""
    first, last = ends
    block = blocks[place]
    if first == last:
        return builder.icmp_unsigned("==", block, all_bytes(first))
    # `_covered` compares all that follow with `_ANY`, so one end is enough where it is the other.
    if place and last == _ANY[1]:
        return builder.icmp_unsigned(">=", block, all_bytes(first))
    if place and first == _ANY[0]:
        return builder.icmp_unsigned("<=", block, all_bytes(last))
    # One unsigned comparison for both ends: smaller values wrap around to large ones.
    return builder.icmp_unsigned(
        "<", builder.sub(block, all_bytes(first)), all_bytes(last - first + 1)
    )


def _covered(builder: Untyped, blocks: Sequence[Untyped], rows: Sequence[Row]) -> Untyped:
    """Return the mask of the first bytes of sequences in the rows, as long as there are blocks."""
    found = None
    for row in rows:
        truths = _in_range(builder, blocks, 0, row.first)
        for place, ends in ((1, row.second), (2, row.third)):
            if ends != _ANY:
                truths = builder.and_(truths, _in_range(builder, blocks, place, ends))
        found = truths if found is None else builder.or_(found, truths)
    for block in blocks[1:]:
        # As signed numbers the bytes that may follow are the lowest.
        follows = builder.icmp_signed("<", block, all_bytes(_ANY[1] + 1))
        found = builder.and_(found, follows)
    return bits_of(builder, found)


def _find_punctuation(_typingctx: Untyped, array: Untyped, index: Untyped) -> Untyped:
    """Return the mask of first bytes of `PUNCTUATION` in 64 from `array[index]` on; reads 66."""
    require_integer(index)

    def codegen(context: Untyped, builder: Untyped, sig: Untyped, args: Untyped) -> Untyped:
        array, index = args
        blocks = [
            load_block(context, builder, sig.args[0], array, index, ahead) for ahead in range(3)
        ]
        return _covered(builder, blocks, [PUNCTUATION])

    return types.uint64(array, types.int64), codegen


def _classify_common(_typingctx: Untyped, array: Untyped, index: Untyped) -> Untyped:
    """Return masks of the first bytes, in 64 from `array[index]` on, of what the rows cover.

    In order: letters of two bytes, others of two, letters of three, others of three. Reads 66
    bytes.
    """
    require_integer(index)

    def codegen(context: Untyped, builder: Untyped, sig: Untyped, args: Untyped) -> Untyped:
        array, index = args
        blocks = [
            load_block(context, builder, sig.args[0], array, index, ahead) for ahead in range(3)
        ]
        words = [
            _covered(builder, blocks[:length], [row for row in rows if row.kind == kind])
            for rows, length in ((TWO_BYTES, 2), (THREE_BYTES, 3))
            for kind in (LETTER, OTHER)
        ]
        return context.make_tuple(builder, sig.return_type, words)

    masks: Untyped = types.UniTuple(types.uint64, 4)  # type: ignore[no-untyped-call] # numba
    return masks(array, types.int64), codegen


# The decorator's own types say nothing of how kernels call these.
find_punctuation: Untyped = intrinsic(_find_punctuation)
classify_common: Untyped = intrinsic(_classify_common)
