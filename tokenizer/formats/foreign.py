"""Reading what other tools wrote: Hugging Face's `tokenizer.json`, and ranks of tiktoken.

Only byte-level BPE is read. What we cannot do exactly (a normalizer, dropout, other pre-tokenizers)
is refused by name, because a tokenizer that is nearly the same gives other ids.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

from tokenizer.formats.gpt2 import parse_merges, parse_vocab
from tokenizer.formats.vocabulary import Vocabulary
from tokenizer.patterns import PATTERNS, resolve_pattern

_Json: TypeAlias = dict[str, Any]
"""A JSON object: its values are of any type."""

REFUSED = (
    "dropout",
    "unk_token",
    "continuing_subword_prefix",
    "end_of_word_suffix",
    "fuse_unk",
    "byte_fallback",
    "ignore_merges",
)
"""Settings of Hugging Face's BPE that change the ids and that we do not have."""


def read_tokenizer_json(path: Path) -> Vocabulary:
    """Read Hugging Face's `tokenizer.json`; its added tokens are the special tokens.

    Raises:
        ValueError: It is malformed, or no byte-level BPE of the kind that we have.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        model, added = content["model"], content.get("added_tokens") or []
        kind = model.get("type", "BPE")
        if kind != "BPE":
            raise ValueError(f"its model is {kind}; only BPE is known")
        if used := [name for name in REFUSED if model.get(name)]:
            raise ValueError(f"its BPE uses {used[0]} ({model[used[0]]!r}), which we do not have")
        if content.get("normalizer"):
            raise ValueError(f"it has a normalizer ({content['normalizer']['type']}); we have none")
        special_tokens = tuple(entry["content"] for entry in added)
        texts = dict(model["vocab"]) | {entry["content"]: entry["id"] for entry in added}
        return Vocabulary(
            vocab=parse_vocab(texts, special_tokens, path),
            merges=parse_merges(list(map(_merge_line, model["merges"])), path),
            special_tokens=special_tokens,
            pattern=_pattern(content.get("pre_tokenizer") or {}),
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is no tokenizer.json of a BPE ({error!r})") from error
    except ValueError as error:
        raise ValueError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error


def _merge_line(merge: str | Sequence[str]) -> str:
    """Return a merge as a line of `merges.txt`; older files write it so, newer ones as a pair."""
    return merge if isinstance(merge, str) else " ".join(merge)


def _pattern(pre_tokenizer: _Json) -> str:
    """Return the split pattern of a byte-level pre-tokenizer, by its name where it has one."""
    steps = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    match [step.get("type") for step in steps]:
        case ["ByteLevel"] if steps[0].get("use_regex", True):
            pattern = PATTERNS["gpt2"]
        case ["Split", "ByteLevel"] if not steps[1].get("use_regex", True):
            pattern = _split_regex(steps[0])
        case kinds:
            raise ValueError(
                f"its pre-tokenizer ({', '.join(map(str, kinds))}) is not byte-level with one "
                "split pattern"
            )
    if steps[-1].get("add_prefix_space"):
        raise ValueError("it puts a space before each text (add_prefix_space); we do not")
    resolved = resolve_pattern(pattern)
    return next((name for name, known in PATTERNS.items() if known == resolved), pattern)


def _split_regex(step: _Json) -> str:
    if step["behavior"] != "Isolated" or step.get("invert"):
        raise ValueError(f"its Split is {step['behavior']!r}; only 'Isolated' is known")
    return str(step["pattern"]["Regex"])


def read_ranks_file(path: Path, pattern: str, special_tokens: Sequence[str]) -> Vocabulary:
    """Read ranks of tiktoken; special tokens that it does not have get the ids after its last.

    Raises:
        ValueError: A line is not base64 and a number, or a token is not made of two others.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            text, rank = line.split()
            ranks[base64.b64decode(text, validate=True)] = int(rank)
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number}: {line[:40]!r} is not base64 and id"
            ) from error
    merges = [
        _last_merge(token, rank, ranks)
        for token, rank in sorted(ranks.items(), key=lambda entry: entry[1])
        if len(token) > 1
    ]
    ids = dict(ranks)
    for token in special_tokens:
        ids.setdefault(token.encode("utf-8"), len(ids))
    vocab = {token_id: token for token, token_id in ids.items()}
    return Vocabulary(
        vocab=dict(sorted(vocab.items())),
        merges=merges,
        special_tokens=tuple(special_tokens),
        pattern=pattern,
    )


def _last_merge(token: bytes, rank: int, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes]:
    """Return the two tokens that a token is made of: its bytes merged by all lower ranks.

    The idea is that of karpathy/minbpe, gpt4.py, `recover_merges`.
    """
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        joined = [
            (ranks.get(left + right, rank), place)
            for place, (left, right) in enumerate(pairwise(parts))
        ]
        lowest, place = min(joined)
        if lowest >= rank:
            raise ValueError(f"rank {rank}, token {token!r}, is not made of two earlier tokens")
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts[0], parts[1]
