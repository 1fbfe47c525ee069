"""Own the settings that decide which tokens a tokenizer has, with their checks."""

from dataclasses import dataclass
from typing import Literal

from tokenizer.patterns import resolve_pattern
from tokenizer.special_tokens import check_special_tokens

NUM_BYTES = 256
"""Token ids 0 to 255 are the bytes, so no vocabulary is smaller."""

TieBreak = Literal["lexicographic", "huggingface"]
"""Which of several equally frequent pairs is merged first; see `tokenizer.reference`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerConfig:
    """Say how a tokenizer is trained; every field changes what comes out."""

    vocab_size: int = 10_000
    """Number of token ids: 256 bytes, merges, special tokens. Default: CS336's for TinyStories."""

    special_tokens: tuple[str, ...] = ("<|endoftext|>",)
    """Texts that are one token each and no pretoken crosses. Default: GPT-2's end of a document."""

    pattern: str = "gpt2"
    """A name in `tokenizer.patterns.PATTERNS` or a regex of the user's. Default: GPT-2's."""

    tie_break: TieBreak = "lexicographic"
    """Default: CS336's rule, the lexicographically greater pair of byte strings."""

    range_bytes: int = 64 * 2**20
    """Size in bytes of the ranges that are counted and encoded apart, so of a shard's text.
    Default: 64 MiB, 178 shards for the 12 GB OpenWebText sample."""

    def __post_init__(self) -> None:
        """Check each field and what they mean together; `ValueError` names the field."""
        check_special_tokens(self.special_tokens)
        smallest = NUM_BYTES + len(self.special_tokens)
        if self.vocab_size < smallest:
            raise ValueError(
                f"vocab_size ({self.vocab_size}) must be at least {smallest}: "
                f"{NUM_BYTES} bytes and {len(self.special_tokens)} special tokens"
            )
        resolve_pattern(self.pattern)
        if self.tie_break not in ("lexicographic", "huggingface"):
            raise ValueError(
                f'tie_break ({self.tie_break!r}) must be "lexicographic" or "huggingface"'
            )
        if self.range_bytes < 1:
            raise ValueError(f"range_bytes ({self.range_bytes}) must be positive")
