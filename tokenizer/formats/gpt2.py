"""GPT-2's two vocabulary files: `vocab.json` (token to id) and `merges.txt`.

Both write bytes as printable characters (`tokenizer.formats.byte_level`), so that tokens with
spaces, line ends or invalid UTF-8 are as safe as any other. Our `merges.txt` has no `#version`
line, as in the course's fixtures; one is accepted when reading.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tokenizer.formats.byte_level import (
    all_characters_to_bytes,
    bytes_to_characters,
    characters_to_bytes,
)


def format_merges(merges: Iterable[tuple[bytes, bytes]]) -> str:
    """Write merges in order, a line `left right` each."""
    return "".join(
        f"{bytes_to_characters(left)} {bytes_to_characters(right)}\n" for left, right in merges
    )


def merges_digest(merges: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the sha256 of `merges.txt`, by which two trainings are compared."""
    return hashlib.sha256(format_merges(merges).encode("utf-8")).hexdigest()


def format_vocab(vocab: Mapping[int, bytes]) -> str:
    """Write a vocabulary as a JSON object of token to id, in the order of the ids."""
    ordered = {bytes_to_characters(vocab[token_id]): token_id for token_id in sorted(vocab)}
    return json.dumps(ordered, ensure_ascii=False, indent=0) + "\n"


def read_vocab(
    path: Path, special_tokens: Sequence[str] = (), *, strict: bool = True
) -> dict[int, bytes]:
    """Read `vocab.json`; special tokens may be written as plain text, as some tools do.

    Args:
        path: The file.
        special_tokens: The ones that are known.
        strict: Refuse other texts in plain characters; else they are taken for special tokens.

    Raises:
        ValueError: The file is not a JSON object of distinct ids, or holds other characters.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{path} is not JSON in UTF-8 ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} must be a JSON object of token to id, not {type(content).__name__}"
        )
    return parse_vocab(content, special_tokens if strict else list(content), path)


def parse_vocab(
    content: Mapping[str, object], special_tokens: Sequence[str], path: Path
) -> dict[int, bytes]:
    """Read the object of token to id that a file holds; errors as in `read_vocab`."""
    vocab: dict[int, bytes] = {}
    for (text, token_id), token in zip(
        content.items(), _read_tokens(list(content), special_tokens, path), strict=True
    ):
        if type(token_id) is not int:
            raise ValueError(f"{path}: the id of {text!r} is {token_id!r}; it must be an integer")
        if token_id in vocab:
            raise ValueError(f"{path}: {text!r} and {vocab[token_id]!r} both have id {token_id}")
        vocab[token_id] = token
    return dict(sorted(vocab.items()))


def _read_tokens(texts: list[str], special_tokens: Sequence[str], path: Path) -> list[bytes]:
    tokens = all_characters_to_bytes(texts)
    if tokens is None:  # a special token as it is, or an error that names the token
        tokens = [_read_token(text, special_tokens, path) for text in texts]
    return tokens


def _read_token(text: str, special_tokens: Sequence[str], path: Path) -> bytes:
    try:
        return characters_to_bytes(text)
    except ValueError as error:
        if text in special_tokens:
            return text.encode("utf-8")
        raise ValueError(f"{path}: token {error}, or it is a special token not given") from error


def read_merges(path: Path) -> list[tuple[bytes, bytes]]:
    """Read `merges.txt`, with or without its `#version` line.

    Raises:
        ValueError: A line is not two tokens with one space between; the message names it.
    """
    text = path.read_text(encoding="utf-8").removesuffix("\n")
    return parse_merges(text.split("\n"), path) if text else []


def parse_merges(lines: list[str], path: Path) -> list[tuple[bytes, bytes]]:
    """Read the lines of merges that a file holds; errors as in `read_merges`."""
    # No merge looks like this: the first one joins two single characters.
    first = 1 if lines and lines[0].startswith("#version") else 0
    texts = [token for line in lines[first:] for token in line.split(" ", 1)]
    tokens = all_characters_to_bytes(texts)
    if tokens is None or len(tokens) != 2 * (len(lines) - first) or b"" in tokens:
        raise _wrong_line(lines, first, path)
    return list(zip(tokens[::2], tokens[1::2], strict=True))


def _wrong_line(lines: list[str], first: int, path: Path) -> ValueError:
    """Return the error of the first line, from index `first` on, that is no merge."""
    for number, line in enumerate(lines[first:], start=first + 1):
        left, _, right = line.partition(" ")
        if not left or not right:
            return ValueError(
                f"{path}, line {number}: {line!r} must be two tokens with a space between"
            )
        try:
            characters_to_bytes(left), characters_to_bytes(right)
        except ValueError as error:
            return ValueError(f"{path}, line {number}: {error}")
    raise AssertionError(f"every line of {path} is a merge")
