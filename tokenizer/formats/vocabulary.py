"""What a tokenizer is made of: its parts, their checks, and the folder they are kept in.

The folder has GPT-2's `vocab.json` and `merges.txt`, Hugging Face's `tokenizer.json`, tiktoken's
`ranks.tiktoken`, and `owt.json` with the split pattern and the special tokens. Of our own folders
we read the first two and the last (`tokenizer.formats.loading`). Nothing is pickled.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizer.config import NUM_BYTES
from tokenizer.formats.gpt2 import format_merges, format_vocab, read_merges, read_vocab
from tokenizer.formats.hugging_face import format_tokenizer_json
from tokenizer.formats.merge_ids import MISSING, first_fault, merge_ids
from tokenizer.formats.tiktoken import format_ranks
from tokenizer.special_tokens import check_special_tokens

VOCAB_FILE = "vocab.json"
MERGES_FILE = "merges.txt"
HF_FILE = "tokenizer.json"
TIKTOKEN_FILE = "ranks.tiktoken"
SETTINGS_FILE = "owt.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Vocabulary:
    """All that determines a tokenizer's ids."""

    vocab: dict[int, bytes]
    """The bytes of each token id; ids run from 0 without a gap."""

    merges: list[tuple[bytes, bytes]]
    """The merges in the order in which they are applied."""

    special_tokens: tuple[str, ...]
    """The texts that are one token each; their bytes are in `vocab`."""

    pattern: str
    """The split pattern's name or regex."""


def build_vocab(
    merges: Sequence[tuple[bytes, bytes]], special_tokens: Sequence[str]
) -> dict[int, bytes]:
    """Number the tokens: 256 bytes, then the merges in order, special tokens last."""
    tokens = [bytes([byte]) for byte in range(NUM_BYTES)]
    tokens += [left + right for left, right in merges]
    tokens += [token.encode("utf-8") for token in special_tokens]
    return dict(enumerate(tokens))


def check_vocab(vocab: Mapping[int, bytes], merges: Sequence[tuple[bytes, bytes]]) -> None:
    """Raise `ValueError` unless ids run from 0, all bytes are there, merges join known tokens."""
    if vocab and (min(vocab) != 0 or max(vocab) != len(vocab) - 1):
        raise ValueError(
            f"token ids must run from 0 to {len(vocab) - 1} for {len(vocab)} tokens; "
            f"these run from {min(vocab)} to {max(vocab)}"
        )
    ids = {token: token_id for token_id, token in vocab.items()}
    if len(ids) < len(vocab):
        twice = next(token for token_id, token in vocab.items() if ids[token] != token_id)
        raise ValueError(f"token {twice!r} has two ids; each token must have one")
    if b"" in ids:
        raise ValueError(f"the token with id {ids[b'']} is empty; a token must have a byte or more")
    byte_ids = [ids.get(bytes([byte]), MISSING) for byte in range(NUM_BYTES)]
    if MISSING in byte_ids:
        missing = byte_ids.index(MISSING)
        raise ValueError(f"byte {missing} has no token; all {NUM_BYTES} bytes must have one")
    number = first_fault(merge_ids(ids, merges), byte_ids, len(ids))
    if number is not None:
        raise ValueError(_fault_text(merges, number, ids))


def _fault_text(
    merges: Sequence[tuple[bytes, bytes]], number: int, ids: Mapping[bytes, int]
) -> str:
    """Say why a merge cannot be."""
    pair = merges[number]
    merge = f"merge {number} ({pair[0]!r} and {pair[1]!r})"
    if pair in merges[:number]:
        return f"{merge} is given twice"
    for token in (*pair, pair[0] + pair[1]):
        if token not in ids:
            return (
                f"{merge} refers to token {token!r}, which the vocabulary does not have; "
                "the two belong to different tokenizers"
            )
    made = {left + right for left, right in merges[:number]}
    unmade = next(token for token in pair if len(token) > 1 and token not in made)
    return (
        f"{merge} joins token {unmade!r}, which no earlier merge makes; merges must be in the "
        "order in which they were learned"
    )


def check_complete(
    vocab: Mapping[int, bytes],
    merges: Sequence[tuple[bytes, bytes]],
    special_tokens: Sequence[str],
) -> None:
    """Raise `ValueError` when no text can give a token: then the files do not fit together."""
    made = {left + right for left, right in merges}
    made.update(token.encode("utf-8") for token in special_tokens)
    for token_id, token in vocab.items():
        if len(token) != 1 and token not in made:
            raise ValueError(
                f"token {token!r} (id {token_id}) is neither a byte, nor made by a merge, nor a "
                "special token; either the vocabulary and the merges belong to different "
                "tokenizers, or it must be named as a special token"
            )


def check_special_tokens_known(vocab: Mapping[int, bytes], special_tokens: Sequence[str]) -> None:
    """Raise `ValueError` when a special token has no id."""
    known = set(vocab.values())
    for token in special_tokens:
        if token.encode("utf-8") not in known:
            raise ValueError(f"special token {token!r} is not in the vocabulary; add it")


def save_vocabulary(
    folder: Path,
    vocab: Mapping[int, bytes],
    merges: Sequence[tuple[bytes, bytes]],
    special_tokens: Sequence[str],
    pattern: str,
) -> None:
    """Write the five files of a tokenizer; the folder is created, `owt.json` is written last.

    Raises:
        ValueError: The parts do not fit together, or a format cannot express them.
    """
    check_special_tokens(special_tokens)
    check_vocab(vocab, merges)
    check_complete(vocab, merges, special_tokens)
    check_special_tokens_known(vocab, special_tokens)
    settings = {"pattern": pattern, "special_tokens": list(special_tokens)}
    contents = {
        VOCAB_FILE: format_vocab(vocab),
        MERGES_FILE: format_merges(merges),
        HF_FILE: format_tokenizer_json(vocab, merges, special_tokens, pattern),
        TIKTOKEN_FILE: format_ranks(vocab, merges, special_tokens),
        SETTINGS_FILE: json.dumps(settings, ensure_ascii=False, indent=1) + "\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content.encode("utf-8"))


def read_vocabulary_files(
    vocab_path: Path, merges_path: Path, special_tokens: Sequence[str]
) -> tuple[dict[int, bytes], list[tuple[bytes, bytes]]]:
    """Read GPT-2's two files and check that they fit together; `ValueError` when not."""
    vocab = read_vocab(vocab_path, special_tokens)
    merges = read_merges(merges_path)
    try:
        check_vocab(vocab, merges)
        check_complete(vocab, merges, special_tokens)
    except ValueError as error:
        raise ValueError(f"{vocab_path} and {merges_path} disagree: {error}") from error
    return vocab, merges
