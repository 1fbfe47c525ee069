"""`owt tokenizer`: train, use and compare tokenizers on plain files, without a pipeline."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import rich
import typer
from rich.markup import escape

from flows.settings import data_root
from tasks.progress import format_bytes, progress

if TYPE_CHECKING:
    from tokenizer.encoding.tokenizer import Tokenizer

app = typer.Typer(help="Train, use and compare tokenizers.", no_args_is_help=True)

Input = Annotated[Path, typer.Option("--input", "-i", help="Text file.")]
Folder = Annotated[
    Path, typer.Option("--tokenizer", "-t", help="Folder that `owt tokenizer train` wrote.")
]
Threads = Annotated[int, typer.Option("--threads", help="0: one per CPU core.")]

SHOWN_TOKENS = 10


@app.command("train")
def train(
    text: Input,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
    vocab_size: Annotated[int, typer.Option(help="Token ids, special ones included.")] = 10_000,
    special_token: Annotated[
        list[str] | None, typer.Option(help="May be repeated; default: <|endoftext|>.")
    ] = None,
    pattern: Annotated[str, typer.Option(help="gpt2, cl100k, o200k or a regex.")] = "gpt2",
    threads: Threads = 0,
) -> None:
    """Train byte-level BPE on a text, and write it in every format that other tools read."""
    from artifacts.content_hash import content_hash
    from tokenizer.config import TokenizerConfig
    from tokenizer.formats.vocabulary import build_vocab, save_vocabulary
    from tokenizer.training.count import count_pretokens
    from tokenizer.training.digests import verdict
    from tokenizer.training.train import train_merges

    special_tokens = tuple(special_token or ("<|endoftext|>",))
    config = TokenizerConfig(vocab_size=vocab_size, special_tokens=special_tokens, pattern=pattern)
    started = time.perf_counter()
    with progress("count pretokens") as on_progress:
        counts = count_pretokens(
            text,
            pattern=pattern,
            special_tokens=special_tokens,
            num_threads=_num_threads(threads),
            on_progress=on_progress,
        )
    with progress("merge", unit="merges") as on_progress:
        result = train_merges(counts, config.num_merges, on_progress=on_progress)
    output.mkdir(parents=True, exist_ok=True)
    vocab = build_vocab(result.merges, special_tokens)
    save_vocabulary(output, vocab, result.merges, special_tokens, pattern)
    size_bytes, seconds = text.stat().st_size, time.perf_counter() - started
    rich.print(
        f"{len(vocab):,} tokens from {format_bytes(size_bytes)} in {seconds:.1f} s, "
        f"{result.bytes_per_token:.3f} bytes a token; written to {escape(str(output))}"
    )
    if result.is_exhausted:
        rich.print(f"the text gives no more than {len(vocab):,} tokens of {vocab_size:,}")
    if pattern == "gpt2" and special_tokens == ("<|endoftext|>",):
        corpus = content_hash(text, memo_dir=None).sha256
        rich.print(verdict(result.merges, corpus_sha256=corpus, vocab_size=vocab_size).message)


@app.command("encode")
def encode(
    text: Input,
    tokenizer: Folder,
    output: Annotated[Path, typer.Option("--output", "-o", help="File .npy of token ids.")],
    threads: Threads = 0,
) -> None:
    """Encode a text to a file of uint16 token ids, and a second file of the documents' offsets."""
    from tokenizer.encoding.file_encoder import encode_file
    from tokenizer.encoding.tokenizer import Tokenizer

    if output.suffix != ".npy":
        raise ValueError(f"--output ({output}) must end in .npy")
    started = time.perf_counter()
    with progress("encode") as on_progress:
        encoded = encode_file(
            Tokenizer.from_folder(tokenizer),
            text,
            output=output,
            documents_output=output.with_suffix(".documents.npy"),
            num_threads=_num_threads(threads),
            on_progress=on_progress,
        )
    seconds = time.perf_counter() - started
    rich.print(
        f"{encoded.num_tokens:,} tokens of {encoded.num_documents:,} documents in {seconds:.1f} s, "
        f"{format_bytes(encoded.size_bytes / seconds)}/s; written to {escape(str(output))}"
    )


@app.command("decode")
def decode(
    tokenizer: Folder,
    tokens: Annotated[Path, typer.Option("--input", "-i", help="File .npy of token ids.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default: print.")] = None,
) -> None:
    """Decode a file of token ids to the very bytes that were encoded."""
    import numpy as np

    from tokenizer.encoding.tokenizer import Tokenizer

    loaded = Tokenizer.from_folder(tokenizer)
    ids = np.load(tokens, mmap_mode="r")
    block = 2**20
    pieces = (
        loaded.decode_bytes(ids[start : start + block].tolist())
        for start in range(0, len(ids), block)
    )
    if output is None:
        typer.echo(b"".join(pieces), nl=False)
        return
    with output.open("wb") as file:
        file.writelines(pieces)


@app.command("stats")
def stats(text: Input, tokenizer: Folder, threads: Threads = 0) -> None:
    """Measure a tokenizer on a text: compression, speed, longest tokens."""
    from tokenizer.compare import (
        PILE_BINARY_BYTES,
        PILE_BYTES,
        longest_tokens,
        measure_encoding,
    )
    from tokenizer.encoding.tokenizer import Tokenizer

    loaded = Tokenizer.from_folder(tokenizer)
    with progress("encode") as on_progress:
        measure = measure_encoding(
            loaded, text, num_threads=_num_threads(threads), on_progress=on_progress
        )
    hours, binary_hours = (
        measure.seconds_for(size) / 3600 for size in (PILE_BYTES, PILE_BINARY_BYTES)
    )
    rich.print(
        f"{measure.num_tokens:,} tokens, {measure.bytes_per_token:.3f} bytes a token\n"
        f"{format_bytes(measure.bytes_per_second)}/s on {measure.num_threads} threads\n"
        f"The Pile at this rate: 825 GB in {hours:.2f} hours, 825 GiB in {binary_hours:.2f}"
    )
    longest = longest_tokens(loaded)
    rich.print(f"longest tokens, {len(longest[0][1])} bytes each ({len(longest)} of them):")
    for token_id, token in longest[:SHOWN_TOKENS]:
        rich.print(f"  {token_id}: {escape(repr(token))}")


@app.command("compare")
def compare(
    tokenizers: Annotated[
        list[str], typer.Argument(help="Folders, or names of train_tokenizer artifacts.")
    ],
    texts: Annotated[list[Path], typer.Option("--input", "-i", help="May be repeated.")],
    documents: Annotated[int, typer.Option(help="Documents that are sampled of each text.")] = 10,
    seed: Annotated[int, typer.Option(help="Determines which documents.")] = 0,
    threads: Threads = 0,
    store: Annotated[str, typer.Option("--store", help="Folder or URL of artifacts.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare tokenizers: compression of sampled documents, speed, vocabularies, training."""
    from flows.cli.tokenizer_tables import print_comparison
    from tasks.tokenizer_measures import ComparisonConfig, measure_throughput
    from tasks.tokenizer_measures import compare as compare_tokenizers

    opened: dict[str, Tokenizer] = {}
    phases: dict[str, dict[str, float]] = {}
    for name in tokenizers:
        opened[name], seconds = _open(name, store)
        phases |= {name: seconds} if seconds else {}
    paths = {path.stem: str(path) for path in texts}
    if len(paths) < len(texts):
        raise ValueError(f"--input: {', '.join(map(str, texts))} must have different names")
    config = ComparisonConfig(num_documents=documents, seed=seed)
    found = compare_tokenizers(opened, paths, config)
    with progress("encode") as on_progress:
        found["throughput"] = measure_throughput(
            opened, paths, num_threads=_num_threads(threads), on_progress=on_progress
        )
    found["training_phases"] = phases
    if as_json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        print_comparison(found)


def _open(name: str, store: str) -> tuple[Tokenizer, dict[str, float]]:
    """Open a folder, or an artifact with the seconds of its training's phases."""
    from artifacts.store import open_store, reference_of, resolve
    from tasks.compare_tokenizers import open_tokenizer
    from tasks.tokenizer_measures import training_phases
    from tokenizer.encoding.tokenizer import Tokenizer

    if Path(name).is_dir():
        return Tokenizer.from_folder(name), {}
    opened = open_store(store or str(data_root() / "artifacts"))
    stage = "train_tokenizer"
    record = resolve(opened, name if name.startswith(stage) else f"{stage}/{name}")
    reference = reference_of(opened, record)
    return open_tokenizer(opened, reference), training_phases(opened, reference)


def _num_threads(threads: int) -> int:
    return threads or os.cpu_count() or 1
