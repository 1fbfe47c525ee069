"""The slow, obvious byte-pair encoding: the oracle that everything fast is tested against.

Source: Sennrich et al. 2016, section 3.2, on bytes as in GPT-2 (Radford et al. 2019, section 2.2).
Every step goes through the whole text, so it takes (merges x text): for short texts only.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from tokenizer.config import TieBreak, num_merges_of
from tokenizer.formats.byte_level import BYTE_ORDER
from tokenizer.formats.vocabulary import build_vocab
from tokenizer.pretokenize import iter_pretokens
from tokenizer.special_tokens import compile_special_tokens, cut_at_special_tokens

Pair = tuple[bytes, bytes]


def count_pretokens(
    data: bytes, *, pattern: str, special_tokens: Sequence[str] = ()
) -> dict[bytes, int]:
    """Count each distinct pretoken."""
    return dict(Counter(iter_pretokens(data, pattern=pattern, special_tokens=special_tokens)))


def count_pairs(words: Iterable[tuple[Sequence[bytes], int]]) -> Counter[Pair]:
    """Count adjacent tokens over all words, overlapping ones too, each word `count` times.

    >>> count_pairs([([b"a", b"a", b"a"], 2)])
    Counter({(b'a', b'a'): 4})
    """
    pairs: Counter[Pair] = Counter()
    for tokens, count in words:
        for pair in pairwise(tokens):
            pairs[pair] += count
    return pairs


def merge_pair(tokens: Sequence[bytes], pair: Pair) -> list[bytes]:
    """Replace the pair by one token, from left to right.

    >>> merge_pair([b"a", b"a", b"a"], (b"a", b"a"))
    [b'aa', b'a']
    """
    merged: list[bytes] = []
    position = 0
    while position < len(tokens):
        if tuple(tokens[position : position + 2]) == pair:
            merged.append(pair[0] + pair[1])
            position += 2
        else:
            merged.append(tokens[position])
            position += 1
    return merged


def train_merges(
    pretoken_counts: Mapping[bytes, int],
    num_merges: int,
    *,
    tie_break: TieBreak = "lexicographic",
) -> list[Pair]:
    """Merge the most frequent pair, again and again, until nothing is left to merge.

    Equally frequent pairs: "lexicographic" takes the greatest pair of byte strings (CS336);
    "huggingface" the smallest pair of token ids, where the bytes are numbered by `BYTE_ORDER` and
    the merges follow (huggingface/tokenizers, models/bpe/trainer.rs, `impl Ord for Merge`).
    """
    words = [([bytes([byte]) for byte in word], n) for word, n in pretoken_counts.items()]
    ids = {bytes([byte]): index for index, byte in enumerate(BYTE_ORDER)}
    merges: list[Pair] = []
    while len(merges) < num_merges and (pairs := count_pairs(words)):
        top = max(pairs.values())
        tied = [pair for pair, count in pairs.items() if count == top]
        if tie_break == "lexicographic":
            best = max(tied)
        else:
            best = min(tied, key=lambda pair: (ids[pair[0]], ids[pair[1]]))
        words = [(merge_pair(tokens, best), count) for tokens, count in words]
        merges.append(best)
        ids[best[0] + best[1]] = len(ids)
    return merges


def train_bpe(
    data: bytes,
    vocab_size: int,
    special_tokens: Sequence[str],
    *,
    pattern: str = "gpt2",
    tie_break: TieBreak = "lexicographic",
) -> tuple[dict[int, bytes], list[Pair]]:
    """Train on a text: count, merge, number."""
    counts = count_pretokens(data, pattern=pattern, special_tokens=special_tokens)
    num_merges = num_merges_of(vocab_size, special_tokens)
    merges = train_merges(counts, num_merges, tie_break=tie_break)
    return build_vocab(merges, special_tokens), merges


def encode(
    data: bytes,
    vocab: Mapping[int, bytes],
    merges: Sequence[Pair],
    special_tokens: Sequence[str] = (),
    *,
    pattern: str = "gpt2",
) -> list[int]:
    """Cut into pretokens and apply every merge to each, in the order they were learned."""
    ids = {token: token_id for token_id, token in vocab.items()}
    token_ids: list[int] = []
    special = compile_special_tokens(special_tokens)
    for segment, special_token in cut_at_special_tokens(data, special):
        for pretoken in iter_pretokens(segment, pattern=pattern):
            tokens = [bytes([byte]) for byte in pretoken]
            for pair in merges:
                tokens = merge_pair(tokens, pair)
            token_ids += [ids[token] for token in tokens]
        if special_token is not None:
            token_ids.append(ids[special_token])
    return token_ids


def decode(token_ids: Iterable[int], vocab: Mapping[int, bytes]) -> bytes:
    """Join the tokens' bytes."""
    return b"".join(vocab[token_id] for token_id in token_ids)
