"""Own the rule that says where a text may be cut in two without changing a single pretoken."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizer.patterns import PATTERNS, resolve_pattern
from tokenizer.special_tokens import compile_special_tokens

# Every whitespace character beyond ASCII, in UTF-8. A byte before ASCII whitespace that ends one
# of these is whitespace itself, so the place between the two is no safe cut.
_WIDE_WHITESPACE = tuple(
    chr(code).encode()
    for code in (0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
)
_WHITESPACE_AFTER_OTHER = re.compile(rb"(?<=[^\t-\r ])[\t-\r ]")


@dataclass(frozen=True)
class CutRule:
    """Say where texts may be cut: after special tokens and, with GPT-2's pattern, before blanks.

    Before whitespace that follows a non-whitespace character GPT-2's pattern always has a boundary:
    no alternative of it goes on from a non-whitespace character to whitespace.
    """

    special_tokens: tuple[bytes, ...]
    pattern: re.Pattern[bytes] | None
    at_whitespace: bool
    max_special_bytes: int


def cut_rule(*, special_tokens: Sequence[str], pattern: str) -> CutRule:
    """Make the rule for these special tokens and this split pattern."""
    texts = tuple(token.encode("utf-8") for token in special_tokens)
    return CutRule(
        special_tokens=texts,
        pattern=compile_special_tokens(special_tokens),
        at_whitespace=resolve_pattern(pattern) == PATTERNS["gpt2"],
        max_special_bytes=max((len(text) for text in texts), default=0),
    )


def first_special_cut(data: bytes | bytearray, begin: int, end: int, rule: CutRule) -> int | None:
    """Return the first p in (begin, end] that follows a special token; None when there is none.

    The caller gives `max_special_bytes` of context on both sides where the text has them.
    """
    if rule.pattern is None:
        return None
    search_from = max(0, begin - rule.max_special_bytes + 1)
    while match := rule.pattern.search(data, search_from):
        start, stop = match.span()
        if start >= end:
            return None
        if begin < stop <= end and not _is_inside_special(data, start, rule):
            return stop
        search_from = start + 1
    return None


def first_whitespace_cut(
    data: bytes | bytearray, begin: int, end: int, rule: CutRule
) -> int | None:
    """Return the first p in [begin, end) before whitespace that is a safe cut, or None."""
    if not rule.at_whitespace:
        return None
    for match in _WHITESPACE_AFTER_OTHER.finditer(data, max(begin, 1), end):
        if _is_whitespace_cut(data, match.start(), rule):
            return match.start()
    return None


def last_cut(data: bytes | bytearray, begin: int, end: int, rule: CutRule) -> int | None:
    """Return the last safe cut in (begin, end], or None; whitespace is tried before specials."""
    if rule.at_whitespace:
        stop, step = end + 1, 256
        while stop > begin + 1:
            start = max(begin + 1, stop - step)
            for match in reversed(list(_WHITESPACE_AFTER_OTHER.finditer(data, start, stop))):
                if _is_whitespace_cut(data, match.start(), rule):
                    return match.start()
            stop, step = start, step * 4
    cut = None
    while (later := first_special_cut(data, begin if cut is None else cut, end, rule)) is not None:
        cut = later
    return cut


def _is_whitespace_cut(data: bytes | bytearray, position: int, rule: CutRule) -> bool:
    before = data[max(0, position - 3) : position]
    return not before.endswith(_WIDE_WHITESPACE) and not _is_inside_special(data, position, rule)


def _is_inside_special(data: bytes | bytearray, position: int, rule: CutRule) -> bool:
    """Tell whether any occurrence of a special token begins before `position` and ends after it."""
    return any(
        data.find(text, max(0, position - len(text) + 1), position + len(text) - 1) >= 0
        for text in rule.special_tokens
    )
