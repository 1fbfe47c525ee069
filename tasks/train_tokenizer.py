"""Stage `train_tokenizer`: byte-level BPE merges from the pretoken counts."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from artifacts.identity import Identity
from artifacts.reading import local_folder
from artifacts.record import Reference
from artifacts.staging import Staging, add_part
from artifacts.store import record_of
from tasks.progress import progress
from tasks.stage import STAGE_OPTIONS, Built, RunContext, build_once, store_of
from tasks.text import text_name
from tokenizer.config import TokenizerConfig

if TYPE_CHECKING:
    from tokenizer.training.train import MergeResult

STAGE = "train_tokenizer"
VERSION = 1


def tokenizer_identity(config: TokenizerConfig, counts: Reference) -> Identity:
    """Say what the vocabulary depends on; how the text was cut for counting is not part of it."""
    settings = asdict(config)
    del settings["range_bytes"]
    return Identity(stage=STAGE, version=VERSION, config=settings, inputs={"counts": counts})


@task(name=STAGE, task_run_name=STAGE, **STAGE_OPTIONS)
def train_tokenizer(
    context: RunContext, config: TokenizerConfig, counts: Reference
) -> State[Reference]:
    """Train the tokenizer and publish it in every format that other tools read.

    Raises:
        ValueError: The text cannot give as many tokens as the config asks for.
    """

    def build(staging: Staging) -> Built:
        statistics = _train(context, config, counts, staging)
        return Built(statistics=statistics)

    return build_once(context, tokenizer_identity(config, counts), build)


def _train(
    context: RunContext, config: TokenizerConfig, counts: Reference, staging: Staging
) -> dict[str, Any]:
    from tokenizer.formats.vocabulary import build_vocab, save_vocabulary
    from tokenizer.training.count_tables import read_counts
    from tokenizer.training.train import train_merges

    parts = sorted(local_folder(store_of(context), counts).glob("part-*.parquet"))
    with progress("train tokenizer", unit="merges") as on_progress:
        result = train_merges(
            read_counts(parts),
            config.num_merges,
            tie_break=config.tie_break,
            checkpoint_path=staging.workdir / "merges.checkpoint",
            on_progress=on_progress,
        )
    vocab = build_vocab(result.merges, config.special_tokens)
    if result.is_exhausted:
        raise ValueError(
            f"tokenizer.vocab_size ({config.vocab_size}) is more than this text can give: "
            f"training stopped with {len(vocab)} tokens when no pair was left to merge; "
            f"set tokenizer.vocab_size={len(vocab)} or less, or give more text"
        )
    folder = staging.workdir / "tokenizer"
    folder.mkdir(exist_ok=True)
    save_vocabulary(folder, vocab, result.merges, config.special_tokens, config.pattern)
    for path in sorted(folder.iterdir()):
        add_part(staging, path, path.name)
    return {**_statistics(result), "public_verdict": _verdict(context, config, counts, result)}


def _verdict(
    context: RunContext, config: TokenizerConfig, counts: Reference, result: MergeResult
) -> str:
    """Say whether the merges are those that public runs on the same text agree on."""
    from tokenizer.training.digests import verdict

    if (config.pattern, config.special_tokens) != ("gpt2", ("<|endoftext|>",)):
        return "no public merges are known for this pattern and these special tokens"
    store = store_of(context)
    text = record_of(store, record_of(store, counts).inputs["text"])
    hashes = {file.name: file.sha256 for file in text.files}
    hashes |= {file.name: file.sha256 for file in text.external_files}
    sha256 = hashes[text_name("train")]
    found = verdict(result.merges, corpus_sha256=sha256, vocab_size=config.vocab_size)
    log = get_run_logger().warning if found.status == "mismatch" else get_run_logger().info
    log(found.message)
    return found.message


def _statistics(result: MergeResult) -> dict[str, Any]:
    return {
        "num_merges": len(result.merges),
        "num_distinct_pretokens": result.num_distinct_pretokens,
        "num_pretokens": result.num_pretokens,
        "num_bytes": result.num_bytes,
        "bytes_per_token": result.bytes_per_token,
        "longest_tokens": [token.decode("utf-8", "replace") for token in result.longest_tokens],
        "resumed_merges": result.resumed_merges,
        "seconds": result.seconds,
        "peak_rss_bytes": result.peak_rss_bytes,
    }
