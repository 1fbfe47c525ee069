"""`owt tokenizer`: train, use and compare tokenizers on any text, without a pipeline."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import rich
import typer
from rich.markup import escape

from flows.cli.options import AsJson
from flows.cli.reading.texts import plain_texts
from flows.settings import data_root
from tasks.watching.progress import format_bytes, progress
from tokenizer.config import TieBreak, TokenizerConfig
from tokenizer.special_tokens import END_OF_TEXT

if TYPE_CHECKING:
    from tokenizer.encoding.tokenizer import Tokenizer

app = typer.Typer(help="Train, use and compare tokenizers.", no_args_is_help=True)

TEXT_HELP = "Text, .gz, .zst or .parquet file, a folder of them, an address, or - for stdin."
FOLDER_HELP = "Folder of a tokenizer: of owt, GPT-2, Hugging Face (tokenizer.json) or tiktoken."

Input = Annotated[str, typer.Option("--input", "-i", help=TEXT_HELP)]
TextColumn = Annotated[str, typer.Option(help="Column of a Parquet file that holds the text.")]
Folder = Annotated[Path, typer.Option("--tokenizer", "-t", help=FOLDER_HELP)]
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
    tie_break: Annotated[
        TieBreak, typer.Option(help="Which of equally frequent pairs is merged first.")
    ] = "lexicographic",
    text_column: TextColumn = "text",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    threads: Threads = 0,
) -> None:
    """Train byte-level BPE on a text, and write it in every format that other tools read."""
    special_tokens = tuple(special_token or ("<|endoftext|>",))
    config = TokenizerConfig(
        vocab_size=vocab_size,
        special_tokens=special_tokens,
        pattern=pattern,
        tie_break=tie_break,
    )
    if not overwrite and output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise ValueError(
            f"--output ({output}) is there already; name another folder, or give --overwrite"
        )
    with plain_texts([text], separator=special_tokens[0], text_column=text_column) as (path,):
        _train(path, config, output, _num_threads(threads))


def _train(text: Path, config: TokenizerConfig, output: Path, num_threads: int) -> None:
    from tokenizer.formats.vocabulary import build_vocab, save_vocabulary
    from tokenizer.training.count import count_pretokens
    from tokenizer.training.train import train_merges

    started = time.perf_counter()
    with progress("count pretokens") as on_progress:
        counts = count_pretokens(
            text,
            pattern=config.pattern,
            special_tokens=config.special_tokens,
            num_threads=num_threads,
            on_progress=on_progress,
        )
    with progress("merge", unit="merges") as on_progress:
        result = train_merges(
            counts, config.num_merges, tie_break=config.tie_break, on_progress=on_progress
        )
    vocab = build_vocab(result.merges, config.special_tokens)
    save_vocabulary(output, vocab, result.merges, config.special_tokens, config.pattern)
    size_bytes, seconds = text.stat().st_size, time.perf_counter() - started
    rich.print(
        f"{len(vocab):,} tokens from {format_bytes(size_bytes)} in {seconds:.1f} s, "
        f"{result.bytes_per_token:.3f} bytes a token; written to {escape(str(output))}"
    )
    if result.is_exhausted:
        rich.print(f"the text gives no more than {len(vocab):,} tokens of {config.vocab_size:,}")
    _compare_with_public(text, config, result.merges)


def _compare_with_public(
    text: Path, config: TokenizerConfig, merges: Sequence[tuple[bytes, bytes]]
) -> None:
    """Say whether the merges are those that others get, where this is known of the text."""
    from artifacts.content_hash import content_hash
    from tokenizer.training.digests import verdict

    vocab_size = config.vocab_size
    if config == TokenizerConfig(vocab_size=vocab_size):
        corpus = content_hash(text, memo_dir=None).sha256
        found = verdict(merges, corpus_sha256=corpus, vocab_size=vocab_size)
        if found.status != "unknown":
            rich.print(found.message)


@app.command("encode")
def encode(
    text: Input,
    tokenizer: Folder,
    output: Annotated[Path, typer.Option("--output", "-o", help="File .npy of token ids.")],
    text_column: TextColumn = "text",
    threads: Threads = 0,
) -> None:
    """Encode a text to a file of uint16 token ids, and a second file of the documents' offsets."""
    from tokenizer.encoding.file_encoder import encode_file
    from tokenizer.encoding.tokenizer import Tokenizer

    if output.suffix != ".npy":
        raise ValueError(f"--output ({output}) must end in .npy")
    loaded = Tokenizer.from_folder(tokenizer)
    separator = _separator(loaded)
    with plain_texts([text], separator=separator, text_column=text_column) as (path,):
        started = time.perf_counter()
        with progress("encode") as on_progress:
            encoded = encode_file(
                loaded,
                path,
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
    with (
        plain_texts([text], separator=_separator(loaded)) as (path,),
        progress("encode") as on_progress,
    ):
        measure = measure_encoding(
            loaded, path, num_threads=_num_threads(threads), on_progress=on_progress
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
    texts: Annotated[
        list[str], typer.Option("--input", "-i", help=f"{TEXT_HELP} May be repeated.")
    ],
    documents: Annotated[int, typer.Option(help="Documents that are sampled of each text.")] = 10,
    seed: Annotated[int, typer.Option(help="Determines which documents.")] = 0,
    threads: Threads = 0,
    store: Annotated[str, typer.Option("--store", help="Folder or URL of artifacts.")] = "",
    as_json: AsJson = False,
) -> None:
    """Compare tokenizers: compression of sampled documents, speed, vocabularies, training."""
    from flows.cli.reading.tokenizer_tables import print_comparison
    from tasks.experiments.tokenizer_measures import ComparisonConfig, measure_throughput
    from tasks.experiments.tokenizer_measures import compare as compare_tokenizers

    opened: dict[str, Tokenizer] = {}
    phases: dict[str, dict[str, float]] = {}
    for name in tokenizers:
        opened[name], seconds = _open(name, store)
        phases |= {name: seconds} if seconds else {}
    names = [Path(text).stem for text in texts]
    if len(set(names)) < len(texts):
        raise ValueError(f"--input: {', '.join(texts)} must have different names")
    config = ComparisonConfig(num_documents=documents, seed=seed)
    separator = _separator(next(iter(opened.values())))
    with plain_texts(texts, separator=separator) as files, progress("encode") as on_progress:
        paths = dict(zip(names, map(str, files), strict=True))
        found = compare_tokenizers(opened, paths, config)
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
    from artifacts.store import open_store, reference_of
    from tasks.compare_tokenizers import open_tokenizer
    from tasks.experiments.tokenizer_measures import training_phases
    from tasks.text_model import find_tokenizer
    from tokenizer.encoding.tokenizer import Tokenizer

    if Path(name).is_dir():
        return Tokenizer.from_folder(name), {}
    opened = open_store(store or str(data_root() / "artifacts"))
    reference = reference_of(opened, find_tokenizer(opened, name))
    return open_tokenizer(opened, reference), training_phases(opened, reference)


def _separator(tokenizer: Tokenizer) -> str:
    """Return the special token that ends a document for this tokenizer."""
    special_tokens = tokenizer.special_tokens
    return END_OF_TEXT if END_OF_TEXT in special_tokens else [*special_tokens, END_OF_TEXT][0]


def _num_threads(threads: int) -> int:
    return threads or os.cpu_count() or 1
