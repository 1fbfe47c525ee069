"""The split patterns: the regular expressions that cut a text into pretokens."""

from collections.abc import Mapping
from types import MappingProxyType

import regex

PATTERNS: Mapping[str, str] = MappingProxyType(
    {
        "gpt2": (r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"),
        "cl100k": (
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
        "o200k": (
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
            r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
    }
)
"""The named patterns, as the `regex` module reads them.

Source: openai/gpt-2 src/encoder.py, and openai/tiktoken tiktoken_ext/openai_public.py for the other
two. tiktoken 0.14 writes the first two with possessive quantifiers to save backtracking. These
plain forms give the same pretokens (tests/tokenizer/test_patterns.py). They also suit the regex
engine of Hugging Face's tokenizers, which reads `{1,3}+` as a repetition."""


def resolve_pattern(name_or_regex: str) -> str:
    """Return the regex of a named pattern, or the given regex itself when it compiles.

    Raises:
        ValueError: The text is neither a name nor a regex that `regex` accepts.
        TypeError: It is no text.
    """
    if not isinstance(name_or_regex, str):
        raise TypeError(f"pattern {name_or_regex!r} must be a str, {_names()} or a regex")
    named = PATTERNS.get(name_or_regex)
    if named is not None:
        return named
    if not name_or_regex or name_or_regex.isidentifier():
        # A bare word is a misspelt name far more often than a regex that matches one word.
        raise ValueError(f"pattern {name_or_regex!r} must be {_names()} or a regular expression")
    try:
        regex.compile(name_or_regex)
    except regex.error as error:
        raise ValueError(
            f"pattern {name_or_regex!r} is no regular expression ({error}); "
            f"it must be {_names()} or a regular expression"
        ) from error
    return name_or_regex


def is_gpt2_pattern(name_or_regex: str) -> bool:
    """Tell whether this is GPT-2's pattern, the only one that the kernels know."""
    return resolve_pattern(name_or_regex) == PATTERNS["gpt2"]


def _names() -> str:
    return ", ".join(PATTERNS)
