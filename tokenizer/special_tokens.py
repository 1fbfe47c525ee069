"""Special tokens: which texts may be one, and where they occur in a text."""

import re
from collections.abc import Iterator, Sequence

END_OF_TEXT = "<|endoftext|>"
"""GPT-2's special token between two documents."""


def check_special_tokens(special_tokens: Sequence[str]) -> None:
    """Raise `ValueError` unless the special tokens are different, valid texts of 2 or more bytes.

    A special token that is a prefix of another, or overlaps it, is allowed: the longest wins.
    """
    if isinstance(special_tokens, str):
        raise TypeError(
            f"special_tokens ({special_tokens!r}) is one text, not a list of texts; "
            f"write [{special_tokens!r}]"
        )
    seen: set[str] = set()
    for token in special_tokens:
        if not isinstance(token, str):
            raise TypeError(f"special token {token!r} must be a str, not {type(token).__name__}")
        if not token:
            raise ValueError("a special token is empty; remove it or give it a text")
        if token in seen:
            raise ValueError(f"special token {token!r} is given twice; remove one of the two")
        check_encodable(token, what=f"special token {token!r}")
        if len(token.encode("utf-8")) == 1:
            raise ValueError(
                f"special token {token!r} is a single byte, which is a token of its own already; "
                "use a longer text"
            )
        seen.add(token)


def check_encodable(text: str, *, what: str) -> None:
    """Raise `ValueError` when `text` holds a lone surrogate, which UTF-8 cannot express."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{what} holds the lone surrogate U+{ord(text[error.start]):04X} at character "
            f"{error.start}, which UTF-8 cannot express; remove it, or decode the original bytes "
            'with errors="replace"'
        ) from error


def compile_special_tokens(special_tokens: Sequence[str]) -> re.Pattern[bytes] | None:
    """Compile a pattern that finds each special token's UTF-8 bytes; None when there are none.

    `re` tries alternatives in order, so they are sorted: of several at one place the longest wins.
    """
    if not special_tokens:
        return None
    texts = sorted((token.encode("utf-8") for token in special_tokens), key=len, reverse=True)
    return re.compile(b"|".join(re.escape(text) for text in texts))


def cut_at_special_tokens(
    data: bytes, compiled: re.Pattern[bytes] | None
) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield (text, special token that ends it), and for the last text (text, None).

    Joined, all parts are `data` again. Where special tokens overlap, the leftmost one counts, and
    of several that start at one place the longest.

    >>> list(cut_at_special_tokens(b"one<|e|>two", compile_special_tokens(["<|e|>"])))
    [(b'one', b'<|e|>'), (b'two', None)]
    """
    start = 0
    if compiled is not None:
        for match in compiled.finditer(data):
            yield data[start : match.start()], match.group()
            start = match.end()
    yield data[start:], None
