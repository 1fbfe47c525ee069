"""How a text is divided into byte ranges that are counted and encoded on their own."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tokenizer.patterns import is_gpt2_pattern
from tokenizer.special_tokens import cut_at_special_tokens
from tokenizer.text.cuts import (
    CutRule,
    cut_rule,
    first_special_cut,
    first_whitespace_cut,
    last_cut,
)
from tokenizer.text.windows import ByteSource, open_source, read_bytes

_SEARCH_BYTES = 2**16
"""Bytes that are read at once in the search for a cut."""


def byte_ranges(
    path: str | Path,
    range_bytes: int,
    *,
    special_tokens: Sequence[str],
    pattern: str,
) -> list[tuple[int, int]]:
    """Divide a text into ranges of about `range_bytes`; together they give the text's tokens.

    A range ends after a special token when one comes within an eighth of `range_bytes` after the
    ideal place; else, with GPT-2's pattern, at a safe cut before whitespace; else at the next
    special token, however far. The result depends on the text and the arguments only. An empty
    text has no ranges.

    Args:
        path: A local path or an fsspec URL.
        range_bytes: Ideal size in bytes.
        special_tokens: Texts that no pretoken overlaps.
        pattern: A name in `PATTERNS` or a regex.

    Raises:
        ValueError: `range_bytes` is not positive.
    """
    if range_bytes < 1:
        raise ValueError(f"range_bytes ({range_bytes}) must be positive")
    rule = cut_rule(special_tokens=special_tokens, pattern=pattern)
    if not is_gpt2_pattern(pattern):
        # Other patterns have safe cuts before whitespace too, but the ranges of published shards
        # do not use them, and must stay as they are.
        rule = replace(rule, whitespace_pattern=None)
    with open_source(path) as source:
        return cut_range(source, 0, source.size_bytes, range_bytes, rule)


def cut_range(
    source: ByteSource, start: int, stop: int, range_bytes: int, rule: CutRule
) -> list[tuple[int, int]]:
    """Divide [start, stop) of an open text; both ends must be safe cuts."""
    cuts = [start]
    target = start + range_bytes
    while target < stop:
        if target > cuts[-1]:
            cut = _find_cut(source, target, stop, range_bytes, rule)
            if cut is None or cut >= stop:
                break
            cuts.append(cut)
        target += range_bytes
    return list(zip(cuts, [*cuts[1:], stop], strict=True)) if stop > start else []


def follows_special(source: ByteSource, place: int, special: bytes, rule: CutRule) -> bool:
    """Tell whether the token before `place`, a safe cut, is this special token.

    The bytes before it do not tell: they may be the end of a longer special token, or the scan may
    have taken one that overlaps them. So the scan is repeated from a safe cut before.
    """
    if read_bytes(source, max(0, place - len(special)), place) != special:
        return False
    size = _SEARCH_BYTES
    while True:
        data = read_bytes(source, max(0, place - size), place)
        begin = 0 if size >= place else last_cut(data, rule.context_bytes, len(data) - 1, rule)
        if begin is not None:
            parts = [(b"", None), *cut_at_special_tokens(data[begin:], rule.special_pattern)]
            return parts[-1][0] == b"" and parts[-2][1] == special
        size *= 2


def _find_cut(
    source: ByteSource, target: int, stop: int, range_bytes: int, rule: CutRule
) -> int | None:
    """Return the first cut at or after `target` by the order of preference of `byte_ranges`."""
    near = min(stop, target + range_bytes // 8)
    cut = _search(source, target, near, rule, first_special_cut)
    if cut is None:
        cut = _search(source, target, stop, rule, first_whitespace_cut)
    if cut is None:
        cut = _search(source, near, stop, rule, first_special_cut)
    return cut


def _search(
    source: ByteSource,
    begin: int,
    end: int,
    rule: CutRule,
    find: Callable[[bytes | bytearray, int, int, CutRule], int | None],
) -> int | None:
    """Apply `find` to pieces of [begin, end), each read with the context that decides."""
    margin = rule.context_bytes
    for position in range(begin, end, _SEARCH_BYTES):
        window_start = max(0, position - margin)
        window_stop = min(end, position + _SEARCH_BYTES)
        data = read_bytes(source, window_start, window_stop + margin)
        found = find(data, position - window_start, window_stop - window_start, rule)
        if found is not None:
            return window_start + found
    return None
