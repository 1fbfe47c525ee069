"""The texts of the tokenizer's benchmarks, made once from the real ones.

    python -m benchmarks.tokenizer_texts --data ../shared/data --work data/bench

Prints the arguments for `bench_tokenizer`.
"""

import argparse
import gzip
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import cycle, repeat
from pathlib import Path

import numpy as np

from benchmarks.tokenizer_jobs import ODD, SCRIPTS
from tokenizer.encoding.tokenizer import Tokenizer
from tokenizer.formats.vocabulary import save_vocabulary

GENERATED = {
    "web150": ("openwebtext-train.txt.gz", "web", 150),
    "web1000": ("openwebtext-train.txt.gz", "web", 1000),
    "web12000": ("openwebtext-train.txt.gz", "web", 12_000),
    "stories2200": ("tinystories-train.txt.gz", "stories", 2200),
}
"""Name of a generated text: its base among the real texts, its kind, and its megabytes."""

_REPEATED = {
    "owt10": (("openwebtext",), 10),
    "standin3": (("webtext-standin",), 3),
    "all13": (("openwebtext", "tinystories", "webtext-standin"), 13),
}
_EOT = b"<|endoftext|>"
_SCRIPT_BYTES = 20 * 10**6
_ODD_BYTES = {"": 10**6, "_4": 4 * 10**6}
_LETTERS = {
    "latin": "[\u00c0-\u024f\u1e00-\u1eff]",
    "cyrillic": "[\u0400-\u052f]",
    "greek": "[\u0370-\u03ff]",
    "arabic": "[\u0600-\u06ff]",
    "hebrew": "[\u0590-\u05ff]",
    "indic": "[\u0900-\u0dff]",
    "chinese": "[\u4e00-\u9fff]",
    "japanese": "[\u3040-\u30ff]",
    "korean": "[\uac00-\ud7af]",
    "emoji": "[\U0001f300-\U0001faff]",
}
"""By name of a script, its characters."""

_LEAST_SHARE = {"latin": 0.1, "japanese": 0.2, "emoji": 0.003}
"""Least share of a document's characters that are its script's; of other scripts a third."""


def all_texts(data: Path, work: Path) -> dict[str, Path]:
    """Make what is missing; return the places of all texts, and of GPT-2's vocabulary."""
    texts = {name: _generated(name, data, work) for name in GENERATED}
    texts |= real_texts(data, work)
    texts["random_words"] = _made(work / "random_words.txt", _random_words)
    texts["tokenizer"] = _gpt2_tokenizer(data / "gpt2", work / "gpt2")
    return texts


def real_texts(data: Path, work: Path) -> dict[str, Path]:
    """Make the texts of real text: repeated, and by script; and the odd ones."""
    real = {
        name: _unpacked(data / f"{name}-train.txt.gz", work)
        for name in ("openwebtext", "tinystories", "webtext-standin")
    }
    texts = {"openwebtext": real["openwebtext"], "standin": real["webtext-standin"]}
    for name, (parts, times) in _REPEATED.items():
        joined = b"".join(real[part].read_bytes() for part in parts)
        texts[name] = _made(work / f"{name}.txt", partial(repeat, joined, times))
    for name in SCRIPTS:
        texts[f"script_{name}"] = _made(
            work / f"script_{name}.txt", partial(_of_script, name, real)
        )
    for name in ODD:
        for suffix, size in _ODD_BYTES.items():
            texts[f"odd_{name}{suffix}"] = _made(
                work / f"odd_{name}{suffix}.txt", partial(_odd, name, size, real["openwebtext"])
            )
    return texts


def _made(path: Path, parts: Callable[[], Iterable[bytes]]) -> Path:
    if not path.exists():
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            file.writelines(parts())
        part.rename(path)
    return path


def _of_script(name: str, real: dict[str, Path]) -> Iterator[bytes]:
    """Yield documents of the stand-in in one script, from the first again at the end."""
    source = real["openwebtext" if name == "english" else "webtext-standin"]
    chosen = [part for part in source.read_bytes().split(_EOT) if _is_of(name, part)]
    if not chosen:
        raise ValueError(f"no document of {source} is in {name}")
    size = 0
    for document in cycle(chosen):
        if size >= _SCRIPT_BYTES:
            return
        size += len(document) + len(_EOT)
        yield document + _EOT


def _is_of(name: str, document: bytes) -> bool:
    text = document.decode()
    if name == "english":
        return True
    if name == "code":
        lines = text.splitlines()
        ends = sum(line.rstrip().endswith((";", "{", "}", "):", "//", ",")) for line in lines)
        return text.isascii() and ends > max(10, len(lines) / 4)
    found = len(re.findall(_LETTERS[name], text))
    return found > _LEAST_SHARE.get(name, 1 / 3) * max(len(text), 20)


def _odd(name: str, size: int, english: Path) -> Iterator[bytes]:
    """Yield a text that no program is made for."""
    draw = np.random.default_rng(0)
    if name == "one_character":
        yield b"a" * size
    elif name == "no_whitespace":
        yield re.sub(rb"\s|<\|endoftext\|>", b"", english.read_bytes())[:size]
    elif name == "only_emoji":
        codes = draw.integers(0x1F600, 0x1F650, size // 4, dtype=np.uint32)
        yield codes.tobytes().decode("utf-32-le").encode()
    else:
        yield draw.bytes(size)


def _generated(name: str, data: Path, work: Path) -> Path:
    base, kind, size_mb = GENERATED[name]
    path = work / f"{name}.txt"
    if not path.exists():
        command = [sys.executable, "-m", "benchmarks.corpus_generator", "--base", str(data / base)]
        command += ["--kind", kind, "--size-mb", str(size_mb), "--output", str(path)]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[1], stdout=sys.stderr)
    return path


def _gpt2_tokenizer(files: Path, folder: Path) -> Path:
    """Keep GPT-2's vocabulary in the folder that all contenders read."""
    special_tokens = [_EOT.decode()]
    gpt2 = Tokenizer.from_files(files / "vocab.json", files / "merges.txt", special_tokens)
    save_vocabulary(folder, gpt2.vocab, gpt2.merges, special_tokens, gpt2.pattern)
    return folder


def _unpacked(packed: Path, work: Path) -> Path:
    path = work / packed.stem
    if not path.exists():
        with gzip.open(packed) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)
    return path


def _random_words() -> Iterator[bytes]:
    """Yield 8,000 random words, whose pairs tie a thousandfold."""
    draw = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ("".join(draw.choices(letters, k=draw.randint(4, 11))) for _ in range(8000))
    yield " ".join(words).encode()


def main() -> None:
    """Make the texts of real text, and print the arguments that name them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    texts = real_texts(options.data, options.work)
    texts["tokenizer"] = _gpt2_tokenizer(options.data / "gpt2", options.work / "gpt2")
    print(*(f"--text {name}={path}" for name, path in texts.items()))


if __name__ == "__main__":
    main()
