"""Own the split patterns: the regular expressions that cut a text into pretokens."""

from collections.abc import Mapping
from types import MappingProxyType

import regex

# Source: openai/gpt-2 src/encoder.py, and openai/tiktoken tiktoken_ext/openai_public.py for the
# other two. tiktoken 0.14 writes the first two with possessive quantifiers to save backtracking;
# these plain forms cut the same (tests/tokenizer/test_patterns.py), and the regex engine of
# Hugging Face's tokenizers, which reads `{1,3}+` as a repetition, understands them too.
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
"""The named patterns, as the `regex` module reads them."""

# A pretoken of these patterns never holds such a whitespace after a character that is none, so a
# text can be cut before it. In the latter two "!\n" is one pretoken, so only the space will do.
SAFE_CUTS: Mapping[str, str] = MappingProxyType(
    {
        PATTERNS["gpt2"]: r"(?<=\S)\s",
        PATTERNS["cl100k"]: r"(?<=\S) ",
        PATTERNS["o200k"]: r"(?<=\S) ",
    }
)
"""For a split pattern, where a text may be cut with no effect on its pretokens."""


def resolve_pattern(name_or_regex: str) -> str:
    """Return the regex of a named pattern, or the given regex itself when it compiles.

    Raises:
        ValueError: the text is neither a name nor a regex that `regex` accepts.
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


def _names() -> str:
    return ", ".join(PATTERNS)
