"""Random texts full of special tokens that nest and overlap, by threads, ranges and one pass."""

import random
from pathlib import Path

from tests.tokenizer.routes import differing_routes, tokenizer_with, windows_of

_PIECES = ["a", "aa", "ab", "X", " ", "<|e|>", "\u3000", "é!", "b a"]
_BETWEEN = ["a", "b", " ", "  ", "\n", "X", "\u3000", "\u00a0 ", "1", "'s", "é"]


def overlapping_special_tokens(source: random.Random) -> list[str]:
    """Draw one to four special tokens, each some of the same two or three pieces in a row."""
    pieces = source.sample(_PIECES, source.choice([1, 2, 2, 3]))
    drawn = {
        "".join(source.choices(pieces, k=source.choice([1, 2, 2, 3, 4])))
        for _ in range(source.choice([1, 2, 3, 4]))
    }
    special_tokens = sorted(token for token in drawn if len(token.encode()) > 1)
    source.shuffle(special_tokens)
    return special_tokens or [2 * pieces[0]]


def text_of(special_tokens: list[str], source: random.Random) -> str:
    """Draw a text of special tokens, their parts, and a few other characters, often repeated."""
    parts = []
    for _ in range(source.choice([2, 5, 10, 30])):
        part = source.choice(special_tokens)
        kind = source.random()
        if kind < 0.3:
            part = source.choice(_BETWEEN)
        elif kind < 0.5:
            part = part[source.randrange(len(part)) :]
        parts.append(part * source.choice([1, 1, 1, 2, 3, 7]))
    return "".join(parts)


def check_cuts(source: random.Random, folder: Path) -> bytes | None:
    """Compare every route from a text to ids and counts with the reference; as the others."""
    special_tokens = overlapping_special_tokens(source)
    text = text_of(special_tokens, source)
    path = folder / "text"
    path.write_text(text, encoding="utf-8")
    tokenizer = tokenizer_with(special_tokens, source.choice(["gpt2", "cl100k"]))
    with windows_of(source.randint(1, 30), source.randint(1, 30)):
        different = differing_routes(tokenizer, path, source.randint(1, 30))
    return f"{different} {special_tokens} {text}".encode() if different else None
