"""Small tokenizers for the tests, trained by the reference, and the same as tiktoken has them."""

import tiktoken

from tokenizer import Tokenizer
from tokenizer.patterns import PATTERNS
from tokenizer.reference import train_bpe

SAMPLE = (
    "Once upon a time there was a tiny ship. It's said that the ship's crew didn't sleep; they'd "
    "sail 1,234 miles, we'll say, and then... naïve 世界 世界 世界! \n\n  The end.\n aaaa abab\r\n"
) * 3
END_OF_TEXT = "<|endoftext|>"


def train_sample(pattern: str, special_tokens: list[str], vocab_size: int = 340) -> Tokenizer:
    """Train a small tokenizer with the reference on a sample."""
    vocab, merges = train_bpe(SAMPLE.encode(), vocab_size, special_tokens, pattern=pattern)
    return Tokenizer(vocab, merges, special_tokens, pattern=pattern)


def tiktoken_encoding(tokenizer: Tokenizer) -> tiktoken.Encoding:
    """Build tiktoken's encoding of a tokenizer of ours."""
    special_ids = set(tokenizer.special_token_ids.values())
    return tiktoken.Encoding(
        "ours",
        pat_str=PATTERNS.get(tokenizer.pattern, tokenizer.pattern),
        mergeable_ranks={
            token: token_id
            for token_id, token in tokenizer.vocab.items()
            if token_id not in special_ids
        },
        special_tokens=tokenizer.special_token_ids,
    )
