"""The rule for safe cuts: where a text may be cut in two so that no token changes.

Which special tokens a text has, a scan from its beginning says: the leftmost occurrence counts, and
of several at one place the longest. Call a place *free* when no occurrence of any special token
begins before it and ends after it, whether the scan takes the occurrence or not. What the scan
takes before a free place ends there at the latest, so every scan that began before it stops at it.
Hence:

- The longest special token that begins at a free place is one that the scan takes. Its end is a
  safe cut.
- In most named patterns, a free place before whitespace that follows another character is a safe
  cut, because no pretoken goes across it.

The bytes near a place decide this (`CutRule.context_bytes`), so a search may begin anywhere and
finds the same cuts. The rule leaves out some places where the scan does end a token: with "aa" it
finds one cut in "aaaa", after two. After a safe cut the text is as a new text, so what begins there
needs nothing of what was before it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import regex

from tokenizer.patterns import PATTERNS, resolve_pattern
from tokenizer.special_tokens import compile_special_tokens

_WHITESPACE_CUTS: Mapping[str, bytes] = {
    PATTERNS["gpt2"]: rb"(?<=[^\t-\r ])[\t-\r ]",
    PATTERNS["cl100k"]: rb"(?<=[^\t-\r ]) ",
    PATTERNS["o200k"]: rb"(?<=[^\t-\r ]) ",
}
"""For a split pattern, the ASCII whitespace before which a cut is safe. With the last two only the
space is: they take "!\\n" as one pretoken. A regex of the user's may match anything, so it has no
entry, and its texts are cut after special tokens only."""

_WIDE_WHITESPACE = tuple(
    chr(code).encode()
    for code in (0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
)
"""Every whitespace character beyond ASCII, in UTF-8. After one of them no whitespace is a cut."""


@dataclass(frozen=True)
class CutRule:
    """The safe cuts of texts with one split pattern and these special tokens."""

    special_tokens: tuple[bytes, ...]

    special_pattern: re.Pattern[bytes] | None
    """Finds the special tokens; None when there are none."""

    whitespace_pattern: re.Pattern[bytes] | None
    """Finds ASCII whitespace after a byte that is none; None where whitespace is no safe cut."""

    backward_pattern: regex.Pattern[bytes] | None
    """Finds the same places from the end of a text."""

    max_special_bytes: int
    """Length of the longest special token."""

    @property
    def context_bytes(self) -> int:
        """Return how many bytes on both sides of a place decide whether it is a safe cut.

        A special token that ends at the place must begin at a free one, and what makes that one
        not free begins up to a special token's length before it: twice the length. Three more are
        for wide whitespace, where there are no special tokens.
        """
        return 2 * self.max_special_bytes + 3


def cut_rule(*, special_tokens: Sequence[str], pattern: str) -> CutRule:
    """Make the rule for these special tokens and this split pattern."""
    texts = tuple(token.encode("utf-8") for token in special_tokens)
    whitespace = _WHITESPACE_CUTS.get(resolve_pattern(pattern))
    return CutRule(
        special_tokens=texts,
        special_pattern=compile_special_tokens(special_tokens),
        whitespace_pattern=re.compile(whitespace) if whitespace else None,
        backward_pattern=regex.compile(b"(?r)" + whitespace) if whitespace else None,
        max_special_bytes=max((len(text) for text in texts), default=0),
    )


def first_special_cut(data: bytes | bytearray, begin: int, end: int, rule: CutRule) -> int | None:
    """Return the first p in (begin, end] that follows a special token; None when there is none.

    The caller gives `context_bytes` on both sides where the text has them.
    """
    if rule.special_pattern is None:
        return None
    search_from = max(0, begin - rule.max_special_bytes + 1)
    while match := rule.special_pattern.search(data, search_from):
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
    if rule.whitespace_pattern is None:
        return None
    for match in rule.whitespace_pattern.finditer(data, max(begin, 1), end):
        if _is_whitespace_cut(data, match.start(), rule):
            return match.start()
    return None


def last_cut(data: bytes | bytearray, begin: int, end: int, rule: CutRule) -> int | None:
    """Return the last safe cut in (begin, end] before whitespace, else after a special token.

    None when there is neither. Context as for `first_special_cut`.
    """
    if end <= begin:
        return None
    if rule.backward_pattern is not None:
        for match in rule.backward_pattern.finditer(data, begin + 1, end + 1):
            if _is_whitespace_cut(data, match.start(), rule):
                return match.start()
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
