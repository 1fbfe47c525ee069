"""Compare the kernels with `regex` and the reference, and with tiktoken, on random hard texts.

A fourth check compares one pass with threads, ranges and small windows (`benchmarks.fuzz_cuts`).

    python -m benchmarks.fuzz_tokenizer --minutes 10 --gpt2 ../shared/data/gpt2

Prints one JSON line: cases of each comparison, differences (any difference also ends with status 1
and the text), and how many code points were left out because tiktoken's Unicode differs.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import tiktoken

from benchmarks.fuzz_cuts import check_cuts
from benchmarks.result_line import print_result
from tokenizer import reference
from tokenizer.encoding.fast import FastEncoder
from tokenizer.encoding.tokenizer import Tokenizer
from tokenizer.formats.vocabulary import build_vocab
from tokenizer.kernels.classify.boundaries import (
    READ_AHEAD_BYTES,
    SPECIAL_FLAG,
    STARTS_SLACK,
    mark_piece,
    special_arrays,
)
from tokenizer.kernels.classify.classes import class_table
from tokenizer.patterns import PATTERNS
from tokenizer.pretokenize import iter_pretokens
from tokenizer.training.counts import PretokenCounts
from tokenizer.training.train import train_merges

SPECIAL_TOKENS = [
    *("<|endoftext|>", "<|end", "<|endoftext|><|endoftext|>", "aa", "aaa", "a aa"),
    *("e s", "\n<", "é!"),
]
"""Some begin with, contain, repeat or overlap others."""

_PIECES = [
    *("'s", "'t", "'ll", "'ve", "'re", "'m", "'d", "'", "''", "'S", " '", "s", "ve", "l", "re"),
    *(" ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000", "\u2028", "\x85", "\x1c"),
    *("a", "b", "the", " the", "Hello", "é", "ß", "中文", "жи", "ª", "\u0301", "👍🏽", "\u200d"),
    *("1", "42", "½", "٣", "Ⅷ", "!", "...", "-", "---", "<|endoftext|>", "<|end", "<|", "aa"),
    *("Привет", " мир", "Ελλάδα", " العربية", "עברית", "日本語", "カタカナ", "ひらがな", "한국어"),
    *(
        "。",
        "Tiếng Việt",
        "naïve",
        "“",
        "”",
        "’s",
        " — ",
        "…",
        "«",
        "©",
        "हिन्दी",
        "ไทย",
        "×",
        "·",
        "・",
    ),
]
PIECES_BYTES = [1, 10, 100, 2**16]
"""Texts are cut into pieces of about so many bytes; the last is more than they have."""

_INVALID = [b"\x80", b"\xff", b"\xc3", b"\xe4\xb8", b"\xf0\x9f\x91", b"\xed\xa0\x80", b"\xc0\xaf"]


def random_text(source: random.Random, characters: list[str]) -> str:
    """Draw up to some 200 pieces: hard ones, any characters, and long runs of one."""
    kind = source.random()
    parts = []
    for _ in range(source.choice([1, 3, 10, 40, 200])):
        if source.random() < kind:
            parts.append(source.choice(_PIECES))
        elif source.random() < 0.02:
            parts.append(source.choice(characters) * source.choice([5, 70, 300]))
        else:
            parts.append(source.choice(characters))
    return "".join(parts)


def with_invalid_bytes(data: bytes, source: random.Random) -> bytes:
    """Put bytes that are not UTF-8 in a few places, also inside characters."""
    for _ in range(source.choice([0, 0, 1, 4])):
        place = source.randrange(len(data) + 1)
        data = data[:place] + source.choice(_INVALID) + data[place:]
    return data


def kernel_pretokens(data: bytes, special_tokens: list[str], piece_bytes: int) -> list[bytes]:
    """Cut with the kernels, piece by piece; the bytes after the text are hostile."""
    longest_first = sorted((token.encode() for token in special_tokens), key=len, reverse=True)
    specials = special_arrays(longest_first)
    padded = np.frombuffer(data + b"s\xa0" * READ_AHEAD_BYTES, np.uint8)
    starts = np.zeros(len(data) + STARTS_SLACK, np.uint32)
    pretokens: list[bytes] = []
    begin = 0
    while begin < len(data):
        count, begin = mark_piece(
            padded, begin, len(data), piece_bytes, class_table(), specials, starts
        )
        places = (starts[: count + 1] & ~SPECIAL_FLAG).tolist()
        flags = (starts[:count] & SPECIAL_FLAG).tolist()
        pretokens += [data[places[i] : places[i + 1]] for i in range(count) if not flags[i]]
    return pretokens


def differing_characters() -> set[str]:
    """Return the characters whose class in tiktoken's engine is another than in `regex`.

    In a vocabulary where any byte merges with a letter, a digit or a mark after it, the ids show
    which of them a character shares a pretoken with; whitespace shares one with none.
    """
    ranks = {bytes([byte]): byte for byte in range(256)}
    for probe in b"a1!":
        for byte in range(256):
            ranks[bytes([byte, probe])] = len(ranks)
    encoding = tiktoken.Encoding(
        "probe", pat_str=PATTERNS["gpt2"], mergeable_ranks=ranks, special_tokens={}
    )
    # By the number in the class table: other joins the mark, letter the letter, digit the digit.
    joined_by_class = [(False, False, True), (True, False, False), (False, True, False)]
    joined_by_class.append((False, False, False))
    different = set()
    for code in range(0x80, sys.maxunicode + 1):
        if 0xD800 <= code < 0xE000:
            continue
        character = chr(code)
        joined = tuple(encoding.encode_ordinary(character + probe)[-1] >= 256 for probe in "a1!")
        if joined != joined_by_class[class_table()[code]]:
            different.add(character)
    return different


def check_pretokens(source: random.Random, characters: list[str]) -> bytes | None:
    """Compare the kernels' pretokens with those of `regex`; return a text that differs."""
    data = with_invalid_bytes(random_text(source, characters).encode(), source)
    special_tokens = source.sample(SPECIAL_TOKENS, source.randrange(len(SPECIAL_TOKENS)))
    expected = list(iter_pretokens(data, pattern="gpt2", special_tokens=special_tokens))
    found = kernel_pretokens(data, special_tokens, source.choice(PIECES_BYTES))
    return None if found == expected else data


def check_training(source: random.Random, characters: list[str]) -> bytes | None:
    """Compare merges and ids of a small training with the reference, under both tie rules."""
    data = with_invalid_bytes(random_text(source, characters).encode()[:400], source)
    counts = reference.count_pretokens(data, pattern="gpt2", special_tokens=SPECIAL_TOKENS[:1])
    for rule in ("lexicographic", "huggingface"):
        num_merges = source.choice([1, 10, 60])
        expected = reference.train_merges(counts, num_merges, tie_break=rule)
        if train_merges(PretokenCounts.from_dict(counts), num_merges, tie_break=rule).merges != (
            expected
        ):
            return data
    vocab = build_vocab(expected, SPECIAL_TOKENS[:1])
    ids = reference.encode(data, vocab, expected, SPECIAL_TOKENS[:1])
    encoder = FastEncoder.from_vocab(vocab, expected, SPECIAL_TOKENS[:1])
    return None if encoder.encode(data) == ids else data


def check_tiktoken(
    source: random.Random,
    characters: list[str],
    encoding: tiktoken.Encoding,
    encoder: FastEncoder,
    tokenizer: Tokenizer,
) -> bytes | None:
    """Compare GPT-2's ids with tiktoken's, of the fast encoder and of `Tokenizer`."""
    text = random_text(source, characters)
    expected = encoding.encode(text, allowed_special="all")
    encoder.piece_bytes = source.choice(PIECES_BYTES)
    if encoder.encode(text.encode()) != expected:
        return text.encode()
    return None if tokenizer.encode(text) == expected else text.encode()


def main() -> None:
    """Fuzz for the wanted time and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--gpt2", type=Path, required=True, help="folder with GPT-2's vocab.json")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    different = differing_characters()
    every = [chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000]
    common = [character for character in every if character not in different]
    tokenizer = Tokenizer.from_files(
        options.gpt2 / "vocab.json", options.gpt2 / "merges.txt", ["<|endoftext|>"]
    )
    specials = tokenizer.special_token_ids
    encoding = tiktoken.Encoding(
        "gpt2",
        pat_str=PATTERNS["gpt2"],
        mergeable_ranks={t: i for i, t in tokenizer.vocab.items() if i not in specials.values()},
        special_tokens=specials,
    )
    encoder = FastEncoder.from_vocab(tokenizer.vocab, tokenizer.merges, tokenizer.special_tokens)
    source = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        checks = {
            "pretokens": lambda: check_pretokens(source, every),
            "tiktoken": lambda: check_tiktoken(source, common, encoding, encoder, tokenizer),
            "training": lambda: check_training(source, every),
            "cuts": lambda: check_cuts(source, Path(folder)),
        }
        cases: Counter[str] = Counter()
        failure = None
        deadline = time.monotonic() + 60 * options.minutes
        while failure is None and time.monotonic() < deadline:
            # Of 22 cases 12 compare pretokens, 7 tiktoken's ids; the three slow ones train and cut.
            name = source.choices(list(checks), weights=[12, 7, 1, 2])[0]
            failure = checks[name]()
            cases[name] += 1
    report = {
        "minutes": options.minutes,
        "cases": dict(sorted(cases.items())),
        "characters_left_out_for_tiktoken": len(different),
        "difference": None if failure is None else [name, failure.hex()],
    }
    print_result(report)
    sys.exit(failure is not None)


if __name__ == "__main__":
    main()
