"""The settings that decide which tokens a tokenizer has, and their checks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tokenizer.patterns import resolve_pattern
from tokenizer.special_tokens import check_special_tokens

NUM_BYTES = 256
"""Token ids 0 to 255 are the bytes, so no vocabulary is smaller."""

TieBreak = Literal["lexicographic", "huggingface"]
"""Which of several equally frequent pairs is merged first; see `tokenizer.reference`."""


def num_merges_of(vocab_size: int, special_tokens: Sequence[str]) -> int:
    """Return how many merges a vocabulary has room for beside the bytes and the special tokens.

    Raises:
        ValueError: The bytes and the special tokens alone are more.
    """
    smallest = NUM_BYTES + len(special_tokens)
    if vocab_size < smallest:
        raise ValueError(
            f"vocab_size ({vocab_size}) must be at least {smallest}: "
            f"{NUM_BYTES} bytes and {len(special_tokens)} special tokens"
        )
    return vocab_size - smallest


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerConfig:
    """How a tokenizer is trained; every field changes the result."""

    vocab_size: int = 10_000
    """Number of token ids: 256 bytes, merges, special tokens. Default: CS336's for TinyStories."""

    special_tokens: tuple[str, ...] = ("<|endoftext|>",)
    """Texts that are one token each, and that no pretoken overlaps. Default: GPT-2's."""

    pattern: str = "gpt2"
    """A name in `tokenizer.patterns.PATTERNS` or a regex of the user's. Default: GPT-2's."""

    tie_break: TieBreak = "lexicographic"
    """Which of equally frequent pairs is merged first. Default: CS336's rule, the lexicographically
    greater pair of byte strings."""

    range_bytes: int = 64 * 2**20
    """Bytes of each range that is counted and encoded on its own; an encoded range is a shard.
    Default: 64 MiB, 178 shards for the 12 GB OpenWebText sample."""

    def __post_init__(self) -> None:
        """Check each field, and that they fit together; `ValueError` names the field."""
        check_special_tokens(self.special_tokens)
        num_merges_of(self.vocab_size, self.special_tokens)
        resolve_pattern(self.pattern)
        if self.tie_break not in ("lexicographic", "huggingface"):
            raise ValueError(
                f'tie_break ({self.tie_break!r}) must be "lexicographic" or "huggingface"'
            )
        if self.range_bytes < 1:
            raise ValueError(f"range_bytes ({self.range_bytes}) must be positive")

    @property
    def num_merges(self) -> int:
        """Return how many merges the vocabulary has."""
        return num_merges_of(self.vocab_size, self.special_tokens)
