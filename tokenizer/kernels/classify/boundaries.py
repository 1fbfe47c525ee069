r"""Where pretokens start: GPT-2's pattern as algebra on bit masks of 64 bytes.

With L, D, W, S the masks of letters, digits, whitespace and spaces, Xp the mask X of the character
before, and Wn the whitespace of the character after, a pretoken of
`'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+` starts at

    (W & ~Wp) | (W & ~Wn) | (~W & Wp & ~Sp) | (~W & ~Wp & ((L ^ Lp) | (D ^ Dp)))

with three patches: the first character of a segment is a start; after a segment's last character Wn
is 1; and a contraction, at an apostrophe that is a start, keeps its letters. (Design and measures:
docs/decisions/0005; checked against `regex` in the tests.)

All bytes of a character carry its class. A block ends at a character's end, so at most 3 bytes
short of 64, and no character lies in two blocks. Each byte that is not UTF-8 is a character of
class "other" (`wide_characters`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenizer.kernels.classify.classes import WHITESPACE
from tokenizer.kernels.classify.wide_characters import classify_wide, to_first_bytes, wide_character
from tokenizer.kernels.intrinsics import (
    BLOCK_BYTES,
    borrowed,
    classify_block,
    count_bits,
    equal_mask,
    trailing_zeros,
)
from tokenizer.kernels.jit import kernel

# Numba runs this, with its own types for scalars.
# mypy: disable-error-code="arg-type, no-any-return, return-value"

SPECIAL_FLAG = np.uint32(1 << 31)
"""Set in a start that is a special token's, not a pretoken's."""


class SpecialArrays(NamedTuple):
    """The special tokens as kernels read them."""

    first_bytes: NDArray[np.uint8]
    """The different first bytes."""

    data: NDArray[np.uint8]
    """All special tokens, the longest first, joined."""

    offsets: NDArray[np.int64]
    """(special tokens + 1,) where each begins in `data`."""


def special_arrays(special_tokens: Sequence[bytes]) -> SpecialArrays:
    """Return the arrays; the caller gives the special tokens longest first."""
    lengths = [len(token) for token in special_tokens]
    return SpecialArrays(
        first_bytes=np.array(sorted({token[0] for token in special_tokens}), dtype=np.uint8),
        data=np.frombuffer(b"".join(special_tokens), dtype=np.uint8),
        offsets=np.cumsum([0, *lengths], dtype=np.int64),
    )


READ_AHEAD_BYTES = BLOCK_BYTES + 2
"""Bytes after a text that kernels read, and ignore: a block, and the rest of a character."""

STARTS_SLACK = 8
"""Items after the last start that kernels write, with no meaning."""

_SEARCH_BYTES = 4096
"""How far back a place to end a piece is looked for."""

_ZERO, _ONE, _ALL = np.uint64(0), np.uint64(1), np.uint64(0xFFFFFFFFFFFFFFFF)


@kernel
def _contraction_bytes(data: NDArray[np.uint8], at: int, end: int) -> int:
    """Return the length of the contraction at the apostrophe `at`, 0 where there is none."""
    if at + 1 >= end:
        return 0
    first = data[at + 1]
    if first == ord("s") or first == ord("t") or first == ord("d") or first == ord("m"):
        return 2
    if at + 2 >= end:
        return 0
    second = data[at + 2]
    if first == ord("l") and second == ord("l"):
        return 3
    if (first == ord("v") or first == ord("r")) and second == ord("e"):
        return 3
    return 0


@kernel
def _patch_contractions(
    data: NDArray[np.uint8],
    begin: int,
    end: int,
    starts: np.uint64,
    apostrophes: np.uint64,
    size: int,
) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Apply the third patch to a block; return (starts, and for the next block: clear, set)."""
    clear = add = _ZERO
    candidates = starts & apostrophes
    while candidates != _ZERO:
        place = trailing_zeros(candidates)
        candidates &= candidates - _ONE
        length = _contraction_bytes(data, begin + place, end)
        if length == 0:
            continue
        if place + 1 < size:
            starts &= ~(_ONE << np.uint64(place + 1))
        else:
            clear |= _ONE
        after = place + length
        if begin + after < end:
            if after < size:
                starts |= _ONE << np.uint64(after)
            else:
                add |= _ONE << np.uint64(after - size)
    return starts, clear, add


@kernel
def mark_segment(
    data: NDArray[np.uint8],
    begin: int,
    end: int,
    classes: NDArray[np.uint8],
    starts_out: NDArray[np.uint32],
    count: int,
) -> int:
    """Write the starts of the pretokens of a segment, data[begin:end], after `count` others.

    `data` has `READ_AHEAD_BYTES` readable bytes after `end`, and `starts_out` room for every byte
    and `STARTS_SLACK` more. Returns the new count.
    """
    letter_before = digit_before = white_before = space_before = _ZERO
    clear, add = _ZERO, _ONE  # the first patch: a segment's first character is a start
    while begin < end:
        letters, digits, whitespace, spaces, apostrophes, wide = classify_block(data, begin)
        size = min(end - begin, BLOCK_BYTES)
        last_bytes = _ZERO
        if wide != _ZERO:
            size, more_letters, more_digits, more_white, last_bytes = classify_wide(
                data, begin, end, size, wide, classes
            )
            letters |= more_letters
            digits |= more_digits
            whitespace |= more_white
        last = np.uint64(size - 1)
        after = data[begin + size]
        white_after = np.uint64(begin + size >= end or after == 32 or 9 <= after <= 13)
        if after >= 0x80 and begin + size < end:
            kind = wide_character(data, begin + size, end, classes)[1]
            white_after = np.uint64(kind == WHITESPACE)
        valid = _ALL >> (np.uint64(BLOCK_BYTES - 1) - last)
        lp = (letters << _ONE) | letter_before
        dp = (digits << _ONE) | digit_before
        wp = (whitespace << _ONE) | white_before
        sp = (spaces << _ONE) | space_before
        wn = ((whitespace & (valid >> _ONE << _ONE)) >> _ONE) | (white_after << last)
        last_white = whitespace & ~wn
        if last_bytes != _ZERO:
            last_white = to_first_bytes(data, begin, last_white & valid, last_bytes)
        starts = (whitespace & ~wp) | last_white | (~whitespace & wp & ~sp)
        starts |= ~whitespace & ~wp & ((letters ^ lp) | (digits ^ dp))
        starts = ((starts & ~clear) | add) & valid
        clear = add = _ZERO
        if starts & apostrophes != _ZERO:
            starts, clear, add = _patch_contractions(data, begin, end, starts, apostrophes, size)
        num_starts = count_bits(starts)
        for first in range(count, count + num_starts, STARTS_SLACK):
            # Always eight: the processor would often mispredict a branch for each.
            for place in range(STARTS_SLACK):
                starts_out[first + place] = begin + trailing_zeros(starts)
                starts &= starts - _ONE
        count += num_starts
        letter_before = (letters >> last) & _ONE
        digit_before = (digits >> last) & _ONE
        white_before = (whitespace >> last) & _ONE
        space_before = (spaces >> last) & _ONE
        begin += size
    return count


@kernel
def find_special(
    data: NDArray[np.uint8],
    begin: int,
    end: int,
    specials: SpecialArrays,
) -> tuple[int, int]:
    """Return (place, index) of the first special token in data[begin:end]; (end, -1): none.

    Where several start at one place, the one listed first wins: list the longest first.
    """
    while begin < end:
        candidates = _ZERO
        for i in range(len(specials.first_bytes)):
            candidates |= equal_mask(data, begin, specials.first_bytes[i])
        while candidates != _ZERO:
            at = begin + trailing_zeros(candidates)
            candidates &= candidates - _ONE
            for special in range(len(specials.offsets) - 1):
                start, stop = specials.offsets[special], specials.offsets[special + 1]
                if at + stop - start > end:
                    continue
                i = start
                while i < stop and data[at + i - start] == specials.data[i]:
                    i += 1
                if i == stop:
                    return at, special
        begin += BLOCK_BYTES
    return end, -1


@kernel
def _last_safe_place(data: NDArray[np.uint8], begin: int, end: int) -> int:
    """Return the last place near `end`, after `begin`, that surely starts a pretoken; -1: none.

    As whitespace after a visible ASCII character does (`tokenizer.text.cuts`).
    """
    for place in range(end, max(begin, end - _SEARCH_BYTES), -1):
        before = data[place - 1]
        if (data[place] == ord(" ") or data[place] == ord("\n")) and ord("!") <= before <= ord("~"):
            return place
    return -1


@kernel
def mark_piece(
    data: NDArray[np.uint8],
    begin: int,
    length: int,
    piece_bytes: int,
    classes: NDArray[np.uint8],
    specials: SpecialArrays,
    starts_out: NDArray[np.uint32],
) -> tuple[int, int]:
    """Write the starts of a piece of data[begin:length]; return (their number, its end).

    The piece has about `piece_bytes`, and ends where no pretoken and no special token goes on.
    Starts of special tokens carry `SPECIAL_FLAG`. One more entry, the piece's end, ends the last
    one. There must be room as for `mark_segment`.
    """
    offsets = specials.offsets
    longest = offsets[1] if len(offsets) > 1 else np.int64(0)
    count, target = np.int64(0), begin + piece_bytes
    while begin < min(length, target):
        # A special token that begins before the target is found, so no cut there is inside of one.
        # Of those behind it a longer one may lie across the limit, so none is taken.
        limit = min(length, target + longest)
        end, special = find_special(data, begin, limit, specials)
        if limit < length and (special < 0 or end >= target):
            special = np.int64(-1)
            end = _last_safe_place(data, begin, target)
            if end < 0:
                target += piece_bytes
                continue
            target = end
        count = mark_segment(data, begin, end, classes, starts_out, count)
        begin = end
        if special >= 0:
            starts_out[count] = np.uint32(end) | SPECIAL_FLAG
            count += 1
            begin += offsets[special + 1] - offsets[special]
    starts_out[count] = begin
    return count, begin


@kernel
def mark_window(
    data: NDArray[np.uint8],
    length: int,
    classes: NDArray[np.uint8],
    specials: SpecialArrays,
    starts_out: NDArray[np.uint32],
) -> int:
    """Write the starts of all of data[:length], as `mark_piece` does; return their number."""
    specials = borrowed(specials)
    # A plain zero would have a type of its own, and what is called be compiled twice.
    return mark_piece(data, np.int64(0), length, length, classes, specials, starts_out)[0]
