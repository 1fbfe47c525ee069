"""Own the cutting of a stream of text into pieces that can be encoded apart, with the same ids."""

import re
from collections.abc import Iterable, Iterator, Sequence

import regex

from tokenizer.patterns import SAFE_CUTS


def iter_safe_pieces(
    chunks: Iterable[str], *, pattern: str, special_tokens: Sequence[str]
) -> Iterator[str]:
    """Join and cut chunks so that encoding the pieces one by one equals encoding all at once.

    Only the tail is held back that further text could change: from the last whitespace that starts
    a pretoken, or the last special token, complete or begun. With a regex of the user's only
    special tokens are safe cuts, so a whole document is held.

    Args:
        chunks: the text, cut anywhere.
        pattern: the split pattern's regex.
        special_tokens: the special tokens that are looked for.
    """
    finder = _CutFinder(pattern, special_tokens)
    pending: list[str] = []
    pending_size = wanted_size = 0
    for chunk in chunks:
        pending.append(chunk)
        pending_size += len(chunk)
        if pending_size < wanted_size:
            continue
        text = "".join(pending)
        cut = finder.last_cut(text)
        if cut:
            yield text[:cut]
        pending = [text[cut:]]
        pending_size = len(text) - cut
        # Doubling before the next look keeps a text without any cut linear.
        wanted_size = 2 * pending_size
    rest = "".join(pending)
    if rest:
        yield rest


class _CutFinder:
    """Hold the compiled expressions that find the last safe cut of a text."""

    def __init__(self, pattern: str, special_tokens: Sequence[str]) -> None:
        ordered = sorted(special_tokens, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, ordered))) if ordered else None
        self._prefixes = {token[:end] for token in ordered for end in range(1, len(token))}
        self._longest_prefix = max(map(len, self._prefixes), default=0)
        safe_cut = SAFE_CUTS.get(pattern)
        # (?r) searches backwards, so the first match is the last one.
        self._cut = regex.compile(f"(?r){safe_cut}") if safe_cut else None

    def last_cut(self, text: str) -> int:
        """Return the last place before which nothing can change whatever text follows."""
        start, end = self._undecided(text)
        match = self._cut.search(text, start, end) if self._cut else None
        return match.start() if match else start

    def _undecided(self, text: str) -> tuple[int, int]:
        """Return the part between the last sure special token and the first that has only begun.

        A special token that starts before every begun one is sure: no further text can make
        an earlier or a longer one of it.
        """
        begun = [
            index
            for index in range(max(0, len(text) - self._longest_prefix), len(text))
            if text[index:] in self._prefixes
        ]
        sure = 0
        for match in self._special.finditer(text) if self._special else ():
            begun = [index for index in begun if index >= sure]
            if begun and match.start() >= begun[0]:
                break
            sure = match.end()
        return sure, next((index for index in begun if index >= sure), len(text))
