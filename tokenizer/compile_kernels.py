"""Compile the kernels before they are needed: `python -m tokenizer.compile_kernels count merge`.

A process of its own, because Numba compiles one kernel at a time in a process, and holds up
whatever else the process does. What it compiles goes into Numba's cache on the disk. A note beside
it says that a group is there; a lock, that somebody is compiling it.
"""

import sys
from collections.abc import Callable
from fcntl import LOCK_EX, LOCK_NB, flock
from importlib.metadata import version
from pathlib import Path
from platform import machine
from tempfile import TemporaryDirectory

from tokenizer.kernels.sources import kernels_folder

TEXT = b"Caf\xc3\xa9 don't 123, it's the cat and the dog<|endoftext|>" * 40
"""A text for which each group of kernels is called once; which text it is makes no difference."""
SPECIAL_TOKENS = ("<|endoftext|>",)
GROUPS = ("count", "merge", "encode")


def is_compiled(group: str, cache_dir: str = "") -> bool:
    """Tell whether a group was compiled for these sources and this Numba.

    It may have been on another processor: then Numba compiles again, when a kernel is called.
    """
    return _note(group, cache_dir).exists()


def is_being_compiled(group: str, cache_dir: str = "") -> bool:
    """Tell whether a process is compiling a group at this moment."""
    try:
        with _lock(group, cache_dir).open("r") as file:
            flock(file, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def compile_group(group: str, cache_dir: str = "") -> None:
    """Compile a group, or wait for the process that does."""
    kernels_folder(cache_dir).mkdir(parents=True, exist_ok=True)
    with _lock(group, cache_dir).open("w") as file:
        flock(file, LOCK_EX)
        if is_compiled(group, cache_dir):
            return
        with TemporaryDirectory() as folder:
            text = Path(folder) / "text.txt"
            text.write_bytes(TEXT)
            _CALLS[group](text)
        _note(group, cache_dir).touch()


def _count(text: Path) -> None:
    from tokenizer.training.count import count_pretokens
    from tokenizer.training.counts import write_counts

    counts = count_pretokens(text, pattern="gpt2", special_tokens=SPECIAL_TOKENS)
    write_counts(counts, text.with_suffix(".parquet"))


def _merge(text: Path) -> None:
    from tokenizer.training.count_tables import read_counts
    from tokenizer.training.counts import PretokenCounts, write_counts
    from tokenizer.training.train import train_merges

    counts = PretokenCounts.from_dict({b" the": 3, b" then": 2, b" them": 2})
    paths = [text.with_suffix(f".{number}.parquet") for number in range(2)]
    for path in paths:  # several, so that they are added up
        write_counts(counts, path)
    train_merges(read_counts(paths), 2)


def _encode(text: Path) -> None:
    from tokenizer.encoding.file_encoder import encode_file
    from tokenizer.encoding.tokenizer import Tokenizer

    vocab = {number: bytes([number]) for number in range(256)} | {256: b"th", 257: b"<|endoftext|>"}
    tokenizer = Tokenizer(vocab, [(b"t", b"h")], list(SPECIAL_TOKENS))
    output = text.with_suffix(".npy")
    documents_output = text.with_suffix(".documents.npy")
    encode_file(tokenizer, text, output=output, documents_output=documents_output)


_CALLS: dict[str, Callable[[Path], None]] = {"count": _count, "merge": _merge, "encode": _encode}


def _note(group: str, cache_dir: str) -> Path:
    return kernels_folder(cache_dir) / f"{group}-{version('numba')}-{machine()}.compiled"


def _lock(group: str, cache_dir: str) -> Path:
    return kernels_folder(cache_dir) / f"{group}.lock"


if __name__ == "__main__":
    directory, *names = sys.argv[1:]
    for name in names:
        compile_group(name, directory)
