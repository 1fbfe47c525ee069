"""Hugging Face's `tokenizer.json`, which `tokenizers` and `transformers` load.

Source: huggingface/tokenizers, the serialized forms of `BPE`, `ByteLevel`, `Split`, `AddedToken`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from tokenizer.formats.byte_level import bytes_to_characters
from tokenizer.patterns import is_gpt2_pattern, resolve_pattern

_Json: TypeAlias = dict[str, Any]
"""A JSON object: its values are of any type."""


def format_tokenizer_json(
    vocab: Mapping[int, bytes],
    merges: Sequence[tuple[bytes, bytes]],
    special_tokens: Sequence[str],
    pattern: str,
) -> str:
    """Write a tokenizer as `tokenizer.json`: same ids for the same text.

    A regex of the user's is written as it is; Hugging Face runs it on the Oniguruma engine, whose
    syntax differs from that of `regex` in rare corners.

    Raises:
        ValueError: A special token looks like another token of the file.
    """
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added_tokens(vocab, special_tokens),
        "normalizer": None,
        "pre_tokenizer": _pre_tokenizer(pattern),
        "post_processor": None,
        "decoder": _byte_level(use_regex=False),
        "model": _model(vocab, merges, special_tokens),
    }
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def _added_tokens(vocab: Mapping[int, bytes], special_tokens: Sequence[str]) -> list[_Json]:
    ids = {token: token_id for token_id, token in vocab.items()}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [
        {"id": ids[token.encode("utf-8")], "content": token, **flags, "special": True}
        for token in special_tokens
    ]
    return sorted(added, key=lambda entry: entry["id"])


def _pre_tokenizer(pattern: str) -> _Json:
    if is_gpt2_pattern(pattern):
        return _byte_level(use_regex=True)  # its regex is this same pattern
    split = {
        "type": "Split",
        "pattern": {"Regex": resolve_pattern(pattern)},
        "behavior": "Isolated",
        "invert": False,
    }
    return {"type": "Sequence", "pretokenizers": [split, _byte_level(use_regex=False)]}


def _byte_level(*, use_regex: bool) -> _Json:
    return {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": use_regex,
    }


def _model(
    vocab: Mapping[int, bytes],
    merges: Sequence[tuple[bytes, bytes]],
    special_tokens: Sequence[str],
) -> _Json:
    texts = {token.encode("utf-8"): token for token in special_tokens}
    tokens: dict[str, int] = {}
    for token_id, token in vocab.items():
        text = texts.get(token, bytes_to_characters(token))
        if text in tokens:
            raise ValueError(
                f"special token {text!r} is how tokenizer.json writes another token, "
                f"{vocab[min(token_id, tokens[text])]!r}; give it another text"
            )
        tokens[text] = token_id
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": tokens,
        "merges": [
            [bytes_to_characters(left), bytes_to_characters(right)] for left, right in merges
        ],
    }
