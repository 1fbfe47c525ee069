"""Small tokenizers for the tests, and the same made by tiktoken and by Hugging Face."""

import json
from collections.abc import Iterable
from itertools import pairwise

import tiktoken
import tokenizers

from tokenizer.encoding.tokenizer import Tokenizer
from tokenizer.formats.byte_level import characters_to_bytes
from tokenizer.patterns import PATTERNS
from tokenizer.reference import train_bpe
from tokenizer.training.counts import PretokenCounts

SAMPLE = (
    "Once upon a time there was a tiny ship. It's said that the ship's crew didn't sleep; they'd "
    "sail 1,234 miles, we'll say, and then... naïve 世界 世界 世界! \n\n  The end.\n aaaa abab\r\n"
) * 3
END_OF_TEXT = "<|endoftext|>"


def train_sample(pattern: str, special_tokens: list[str], vocab_size: int = 340) -> Tokenizer:
    """Train a small tokenizer with the reference on a sample."""
    vocab, merges = train_bpe(SAMPLE.encode(), vocab_size, special_tokens, pattern=pattern)
    return Tokenizer(vocab, merges, special_tokens, pattern=pattern)


def as_dict(counts: PretokenCounts) -> dict[bytes, int]:
    """Return {pretoken: count}, in the order of the flat form."""
    data = counts.data.tobytes()
    pretokens = [data[start:stop] for start, stop in pairwise(counts.offsets.tolist())]
    return dict(zip(pretokens, counts.counts.tolist(), strict=True))


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


def hugging_face_merges(documents: Iterable[str], num_merges: int) -> list[tuple[bytes, bytes]]:
    """Train Hugging Face's `BpeTrainer`; the caller cuts documents, since it knows no such thing.

    Its alphabet is numbered by the characters that represent bytes, whether all 256 are asked for
    or only those of the text: the order among them, which is all that ties need, is the same.
    """
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=256 + num_merges, initial_alphabet=alphabet, show_progress=False
    )
    model.train_from_iterator(documents, trainer)
    merges = json.loads(model.to_str())["model"]["merges"]
    return [(characters_to_bytes(left), characters_to_bytes(right)) for left, right in merges]
