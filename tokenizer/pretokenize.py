"""From a text to its pretokens with any pattern, by the `regex` module: general and exact.

The kernels do the same for the GPT-2 pattern alone, faster; they are tested against this.
"""

from collections.abc import Iterator, Sequence

import regex

from tokenizer.patterns import resolve_pattern
from tokenizer.special_tokens import compile_special_tokens, cut_at_special_tokens


def split_text(text: str, compiled: regex.Pattern[str]) -> list[str]:
    """Cut a text without special tokens into pretokens; joined, they are the text again.

    Text that a pattern leaves out between two matches is a pretoken too, and an empty match is
    none, so no text is lost. Hugging Face's "isolated" split does the same; tiktoken drops it.

    >>> split_text("ab12", regex.compile(r"[a-z]"))
    ['a', 'b', '12']
    """
    if compiled.groups == 0:
        pretokens: list[str] = compiled.findall(text)
        if sum(map(len, pretokens)) == len(text) and all(pretokens):
            return pretokens
    return list(_matches_and_gaps(text, compiled))


def _matches_and_gaps(text: str, compiled: regex.Pattern[str]) -> Iterator[str]:
    end = 0
    for match in compiled.finditer(text):
        if match.start() > end:
            yield text[end : match.start()]
        if match.end() > match.start():
            yield match.group()
        end = match.end()
    if end < len(text):
        yield text[end:]


def iter_pretokens(
    data: bytes, *, pattern: str, special_tokens: Sequence[str] = ()
) -> Iterator[bytes]:
    """Yield the pretokens of `data` in order, without the special tokens.

    `data` need not be UTF-8: each invalid byte is one character, neither letter, digit nor space.

    >>> list(iter_pretokens(b"so it's<|e|> on", pattern="gpt2", special_tokens=["<|e|>"]))
    [b'so', b' it', b"'s", b' on']
    """
    compiled = regex.compile(resolve_pattern(pattern))
    special = compile_special_tokens(special_tokens)
    for segment, _ in cut_at_special_tokens(data, special):
        text = segment.decode("utf-8", "surrogateescape")
        for pretoken in split_text(text, compiled):
            yield pretoken.encode("utf-8", "surrogateescape")
