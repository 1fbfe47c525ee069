"""Loading a tokenizer's folder, ours or one that another tool wrote.

`owt.json` makes a folder ours. Without it the first of these decides: `tokenizer.json` (Hugging
Face), `vocab.json` with `merges.txt` (GPT-2, also under OpenAI's names), ranks of tiktoken.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenizer.formats.foreign import read_ranks_file, read_tokenizer_json
from tokenizer.formats.gpt2 import read_merges, read_vocab
from tokenizer.formats.vocabulary import (
    HF_FILE,
    MERGES_FILE,
    SETTINGS_FILE,
    VOCAB_FILE,
    Vocabulary,
    check_complete,
    check_special_tokens_known,
    check_vocab,
    read_vocabulary_files,
)
from tokenizer.patterns import resolve_pattern
from tokenizer.special_tokens import check_special_tokens

GPT2_NAMES = ((VOCAB_FILE, MERGES_FILE), ("encoder.json", "vocab.bpe"))
"""GPT-2's two files as Hugging Face and as openai/gpt-2 call them."""

RANKS_PATTERNS = {
    "r50k_base": "gpt2",
    "p50k_base": "gpt2",
    "cl100k_base": "cl100k",
    "o200k_base": "o200k",
}
"""Split patterns of the files that OpenAI publishes (openai/tiktoken, openai_public.py)."""


def load_vocabulary(folder: Path) -> Vocabulary:
    """Read the tokenizer in a folder.

    Raises:
        FileNotFoundError: A file is missing; the message names those that would do.
        ValueError: A file is malformed, uses what we do not have, or the files disagree.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no tokenizer {folder}: there is no such folder")
    if (folder / SETTINGS_FILE).is_file():
        return _load_ours(folder)
    if (folder / HF_FILE).is_file():
        return _checked(read_tokenizer_json(folder / HF_FILE), folder / HF_FILE)
    for vocab_name, merges_name in GPT2_NAMES:
        there = [name for name in (vocab_name, merges_name) if (folder / name).is_file()]
        if len(there) == 2:
            return _load_gpt2(folder / vocab_name, folder / merges_name)
        if there:
            missing = merges_name if there == [vocab_name] else vocab_name
            raise FileNotFoundError(f"{folder} has {there[0]}, but no {missing}; both are needed")
    if ranks := _ranks_file(folder):
        return _load_ranks(ranks)
    names = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
    raise FileNotFoundError(
        f"{folder} is no tokenizer: it has {names}; one has {SETTINGS_FILE} (as owt writes it), "
        f"{HF_FILE}, {VOCAB_FILE} with {MERGES_FILE}, or a .tiktoken file"
    )


def _load_ours(folder: Path) -> Vocabulary:
    pattern, special_tokens = _read_settings(folder / SETTINGS_FILE)
    ranks = _ranks_file(folder)
    if ranks and not (folder / VOCAB_FILE).exists() and not (folder / MERGES_FILE).exists():
        return _checked(read_ranks_file(ranks, pattern, special_tokens), ranks)
    vocab, merges = read_vocabulary_files(folder / VOCAB_FILE, folder / MERGES_FILE, special_tokens)
    try:
        check_special_tokens_known(vocab, special_tokens)
    except ValueError as error:
        raise ValueError(f"{folder / SETTINGS_FILE} and {VOCAB_FILE} disagree: {error}") from error
    return Vocabulary(
        vocab=vocab, merges=merges, special_tokens=tuple(special_tokens), pattern=pattern
    )


def _load_gpt2(vocab_path: Path, merges_path: Path) -> Vocabulary:
    """Read GPT-2's two files; what no merge makes is a special token, as its end of text."""
    merges = read_merges(merges_path)
    vocab = read_vocab(vocab_path, strict=False)
    special_tokens = _left_over(vocab, merges)
    found = Vocabulary(vocab=vocab, merges=merges, special_tokens=special_tokens, pattern="gpt2")
    return _checked(found, vocab_path)


def _left_over(
    vocab: Mapping[int, bytes], merges: Sequence[tuple[bytes, bytes]]
) -> tuple[str, ...]:
    made = {left + right for left, right in merges}
    left_over = [token for token in vocab.values() if len(token) > 1 and token not in made]
    return tuple(token.decode("utf-8", errors="replace") for token in left_over)


def _load_ranks(path: Path) -> Vocabulary:
    pattern = RANKS_PATTERNS.get(path.stem)
    if pattern is None:
        raise ValueError(
            f"{path} says neither how a text is split nor which tokens are special; put a file "
            f'{SETTINGS_FILE} beside it, such as {{"pattern": "gpt2", "special_tokens": '
            '["<|endoftext|>"]}'
        )
    return _checked(read_ranks_file(path, pattern, ["<|endoftext|>"]), path)


def _ranks_file(folder: Path) -> Path | None:
    return next(iter(sorted(folder.glob("*.tiktoken"))), None)


def _checked(found: Vocabulary, path: Path) -> Vocabulary:
    try:
        check_special_tokens(found.special_tokens)
        check_vocab(found.vocab, found.merges)
        check_complete(found.vocab, found.merges, found.special_tokens)
        check_special_tokens_known(found.vocab, found.special_tokens)
    except ValueError as error:
        raise ValueError(f"{path} cannot be used: {error}") from error
    return found


def _read_settings(path: Path) -> tuple[str, list[str]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        pattern, special_tokens = content["pattern"], content["special_tokens"]
        resolve_pattern(pattern)
        check_special_tokens(special_tokens)
    except (ValueError, KeyError, RecursionError, TypeError) as error:
        raise ValueError(
            f'{path} must be a JSON object with "pattern" and "special_tokens" ({error!r})'
        ) from error
    return pattern, special_tokens
