"""Run one contender of the tokenizer benchmarks once, in this process, and print what it took.

Started by `bench_tokenizer.py`, with the Python that has the contender: ours, or the peers' own.
`--calls N` times calls in a warm process, after one on a small text; else the process does the work
once, and it is the parent that times the process.
"""

import argparse
import base64
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

EOT = "<|endoftext|>"
Encode = Callable[[Path, Path, int], int]
"""Encodes the first so many bytes of a text into a file; returns the number of ids."""
_READ_BYTES = 2**24
_BATCH_DOCUMENTS = 1000


def load(name: str) -> Any:
    """Import a module that only one of the two environments has."""
    return importlib.import_module(name)


def iter_documents(path: Path, limit_bytes: int) -> Iterator[str]:
    """Yield documents of a text, for contenders that take `str`."""
    done = 0
    rest = b""
    with path.open("rb") as file:
        while piece := file.read(min(_READ_BYTES, limit_bytes - done)):
            done += len(piece)
            *documents, rest = (rest + piece).split(EOT.encode())
            yield from (document.decode("utf-8", "replace") for document in documents)
    yield rest.decode("utf-8", "replace")


def train_ours(path: Path, vocab_size: int, threads: int) -> int:
    """Train with the project's tokenizer."""
    _, merges = load("tokenizer.training.train").train_bpe(
        path, vocab_size, [EOT], num_threads=threads
    )
    return len(merges)


def train_gigabpe(path: Path, vocab_size: int, threads: int) -> int:
    """Train with gigabpe: the same pattern; it cannot leave special tokens out of the counts."""
    _, merges = load("gigabpe").train_bpe(
        [str(path)],
        vocab_size=vocab_size,
        special_tokens=[EOT],
        pretokenizer="bytelevel",
        threads=threads,
    )
    return len(merges)


def train_gigatoken(path: Path, vocab_size: int, _threads: int) -> int:
    """Train with gigatoken; its threads are RAYON_NUM_THREADS."""
    _, merges = load("gigatoken").train_bpe(str(path), vocab_size, [EOT])
    return len(merges)


def train_rustbpe(path: Path, vocab_size: int, _threads: int) -> int:
    """Train with rustbpe on GPT-2's pattern."""
    tokenizer = load("rustbpe").Tokenizer()
    pattern = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    tokenizer.train_from_iterator(iter_documents(path, sys.maxsize), vocab_size, pattern=pattern)
    return vocab_size - 256


def train_bpeasy(path: Path, vocab_size: int, _threads: int) -> int:
    """Train with bpeasy on GPT-2's pattern."""
    pattern = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    vocab = load("bpeasy").train_bpe(iter_documents(path, sys.maxsize), pattern, 128, vocab_size)
    return len(vocab) - 256


def train_tokenizers(path: Path, vocab_size: int, _threads: int) -> int:
    """Train with Hugging Face's `BpeTrainer`."""
    module = load("tokenizers")
    model = module.Tokenizer(module.models.BPE())
    model.pre_tokenizer = module.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = module.pre_tokenizers.ByteLevel.alphabet()
    trainer = module.trainers.BpeTrainer(
        vocab_size=vocab_size - 1, initial_alphabet=alphabet, show_progress=False
    )
    model.train_from_iterator(iter_documents(path, sys.maxsize), trainer)
    return int(model.get_vocab_size()) - 256


def encode_ours(folder: Path, threads: int) -> Encode:
    """Load the project's tokenizer; encode a file to a uint16 file."""
    tokenizer = load("tokenizer.encoding.tokenizer").Tokenizer.from_folder(folder)

    def encode(path: Path, output: Path, _limit: int) -> int:
        result = load("tokenizer.encoding.file_encoder").encode_file(
            tokenizer,
            path,
            output=output,
            documents_output=output.with_suffix(".documents.npy"),
            num_threads=threads,
        )
        return int(result.num_tokens)

    return encode


def encode_gigatoken(folder: Path, _threads: int) -> Encode:
    """Load gigatoken's tokenizer; encode by its file API, and write its ids as uint16."""
    module, numpy = load("gigatoken"), load("numpy")
    tokenizer = module.Tokenizer.from_tiktoken(folder / "ranks.tiktoken", "gpt2", {EOT: 50256})

    def encode(path: Path, output: Path, _limit: int) -> int:
        ids = tokenizer.encode_files(module.TextFileSource([str(path)]))
        numpy.asarray(load("awkward").flatten(ids)).astype("<u2").tofile(output)
        return int(output.stat().st_size // 2)

    return encode


def encode_tiktoken(folder: Path, _threads: int) -> Encode:
    """Load the vocabulary for tiktoken; encode the first bytes, document by document."""
    numpy = load("numpy")
    ranks = {}
    for line in (folder / "ranks.tiktoken").read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    pattern = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
    encoding = load("tiktoken").Encoding(
        "gpt2", pat_str=pattern, mergeable_ranks=ranks, special_tokens={EOT: 50256}
    )

    def encode(path: Path, output: Path, limit: int) -> int:
        with output.open("wb") as file:
            for document in iter_documents(path, limit):
                ids = [*encoding.encode_ordinary(document), 50256]
                numpy.array(ids, dtype="<u2").tofile(file)
        return int(output.stat().st_size // 2)

    return encode


def encode_snaptokens(folder: Path, _threads: int) -> Encode:
    """Load the vocabulary for snaptokens; its threads are RAYON_NUM_THREADS."""
    numpy = load("numpy")
    tokenizer = load("snaptokens").Tokenizer.from_file(str(folder / "tokenizer.json"))

    def encode(documents: list[str]) -> list[Any]:
        ids, ends = tokenizer.encode_batch_flat(documents)
        return list(numpy.split(numpy.frombuffer(ids, "<u4"), numpy.frombuffer(ends, "<u8")[1:-1]))

    return _by_batches(encode)


def encode_tokenizers(folder: Path, _threads: int) -> Encode:
    """Load the vocabulary for Hugging Face's tokenizers; its threads are RAYON_NUM_THREADS."""
    tokenizer = load("tokenizers").Tokenizer.from_file(str(folder / "tokenizer.json"))
    return _by_batches(
        lambda documents: [encoding.ids for encoding in tokenizer.encode_batch_fast(documents)]
    )


def _by_batches(encode_documents: Callable[[list[str]], list[Any]]) -> Encode:
    """Encode documents in batches, each followed by the id of the end of text."""
    numpy = load("numpy")

    def encode(path: Path, output: Path, limit: int) -> int:
        documents = iter_documents(path, limit)
        with output.open("wb") as file:
            while batch := list(islice(documents, _BATCH_DOCUMENTS)):
                for ids in encode_documents(batch):
                    numpy.append(ids, 50256).astype("<u2").tofile(file)
        return int(output.stat().st_size // 2)

    return encode


TRAINERS: dict[str, Callable[[Path, int, int], int]] = {
    "ours": train_ours,
    "gigabpe": train_gigabpe,
    "gigatoken": train_gigatoken,
    "rustbpe": train_rustbpe,
    "bpeasy": train_bpeasy,
    "tokenizers": train_tokenizers,
}
ENCODERS: dict[str, Callable[[Path, int], Encode]] = {
    "ours": encode_ours,
    "gigatoken": encode_gigatoken,
    "tiktoken": encode_tiktoken,
    "snaptokens": encode_snaptokens,
    "tokenizers": encode_tokenizers,
}


def prepare(options: argparse.Namespace) -> Callable[[Path], int]:
    """Return the contender's work on a text; a vocabulary that it needs is loaded here."""
    if options.action == "train":
        train = TRAINERS[options.contender]
        return lambda path: train(path, options.vocab_size, options.threads)
    encode = ENCODERS[options.contender](options.tokenizer, options.threads)
    limit = int(options.limit_mb * 10**6) or sys.maxsize
    return lambda path: encode(path, options.output, limit)


def main() -> None:
    """Do one contender's work and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["train", "encode"])
    parser.add_argument("contender")
    parser.add_argument("--input", type=Path, default=Path())
    parser.add_argument("--warm-up", type=Path, default=Path(), help="a small text")
    parser.add_argument("--calls", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--vocab-size", type=int, default=0)
    parser.add_argument("--tokenizer", type=Path, default=Path())
    parser.add_argument("--output", type=Path, default=Path())
    parser.add_argument("--limit-mb", type=float, default=0, help="0: the whole text")
    options = parser.parse_args()
    seconds = []
    results = []
    if options.calls:
        prepare(options)(options.warm_up)
    for _ in range(max(options.calls, 1)):
        work = prepare(options)  # so that no cache is warm
        # A file that is written over waits for the disk; nobody writes a shard over.
        if options.output.is_file():
            options.output.unlink()
        started = (time.perf_counter(), time.process_time())
        results.append(work(options.input))
        wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
        seconds.append((wall, cpu))
    print(json.dumps({"calls": seconds, "result": results[-1]}))


if __name__ == "__main__":
    main()
