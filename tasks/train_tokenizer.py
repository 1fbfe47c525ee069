"""Stage `train_tokenizer`: byte-level BPE merges from the pretoken counts."""

from __future__ import annotations

from dataclasses import asdict
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING

from prefect import task
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from artifacts.building.staging import Staging, add_part, confirm
from artifacts.identity import Identity, Reference
from artifacts.published.reading import local_files
from artifacts.record import JsonObject
from artifacts.store import record_of
from tasks.context import RunContext, store_of
from tasks.corpus.text import known_text_bytes, text_name
from tasks.execution.building import Built, build_once
from tasks.execution.count_tree import add_up_on_cluster
from tasks.execution.kernels import wait_until_compiled
from tasks.execution.prediction import Outlook, Prediction, predict_work
from tasks.stage import STAGE_OPTIONS, Stage, perform_by
from tasks.watching.progress import progress
from tokenizer.config import TokenizerConfig

if TYPE_CHECKING:
    from tokenizer.training.counts import PretokenCounts
    from tokenizer.training.train import MergeResult

STAGE = "train_tokenizer"
VERSION = 1

CHECKPOINT = "merges.checkpoint"
"""The merges so far, in the working folder."""

HEAPS_EXPONENT = 0.5
"""Distinct words grow as this power of the text: 0.4 to 0.6 in English (Heaps 1978)."""

USUAL_BYTES_PER_TOKEN = 4.0
"""Bytes of English text a token, before a tokenizer of this store says better."""


def tokenizer_identity(config: TokenizerConfig, counts: Reference) -> Identity:
    """Return what the vocabulary depends on; how the text was cut for counting is no part of it."""
    settings = asdict(config)
    del settings["range_bytes"]
    return Identity(stage=STAGE, version=VERSION, config=settings, inputs={"counts": counts})


@task(name=STAGE, task_run_name=STAGE, **STAGE_OPTIONS)
def train_tokenizer(
    context: RunContext, identity: Identity, config: TokenizerConfig
) -> State[Reference]:
    """Train the tokenizer and publish it in every format that other tools read.

    Raises:
        ValueError: The text cannot give as many tokens as the config asks for.
    """

    def build(staging: Staging) -> Built:
        return Built(statistics=_train(context, config, identity.inputs["counts"], staging))

    return build_once(context, identity, build, work=[CHECKPOINT])


def predict(config: TokenizerConfig, outlook: Outlook) -> Prediction:
    """Predict the time from the distinct pretokens that a text of this size has."""
    del config
    size_bytes = known_text_bytes(outlook, "train")
    work = size_bytes**HEAPS_EXPONENT if size_bytes else None
    return predict_work(
        outlook, STAGE, work, lambda record: record.statistics["num_bytes"] ** HEAPS_EXPONENT
    )


TRAIN_TOKENIZER = Stage(
    name=STAGE, identify=tokenizer_identity, perform=perform_by(train_tokenizer), predict=predict
)


def known_bytes_per_token(outlook: Outlook) -> float:
    """Return the bytes of text a token of the newest tokenizer, or what is usual for English."""
    earlier = outlook.of_stage(STAGE)
    return float(earlier[0].statistics["bytes_per_token"]) if earlier else USUAL_BYTES_PER_TOKEN


def _train(
    context: RunContext, config: TokenizerConfig, counts: Reference, staging: Staging
) -> JsonObject:
    from tokenizer.formats.vocabulary import build_vocab, save_vocabulary
    from tokenizer.training.train import train_merges

    wait_until_compiled("merge", context.kernel_cache)
    total = _total(context, counts)
    with progress("train tokenizer", unit="merges", guard=partial(confirm, staging)) as on_progress:
        result = train_merges(
            total,
            config.num_merges,
            tie_break=config.tie_break,
            checkpoint_path=staging.workdir / CHECKPOINT,
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


def _total(context: RunContext, counts: Reference) -> PretokenCounts:
    """Return the counts of the whole text."""
    from tokenizer.training.count_tables import read_counts

    store, parts = store_of(context), "part-*.parquet"
    if context.cluster is None:
        return read_counts(local_files(store, counts, parts))
    files = record_of(store, counts).files
    names = sorted(file.name for file in files if fnmatchcase(file.name, parts))
    return add_up_on_cluster(context, counts, names)


def _verdict(
    context: RunContext, config: TokenizerConfig, counts: Reference, result: MergeResult
) -> str:
    """Return whether the merges are those that public runs on the same text agree on."""
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


def _statistics(result: MergeResult) -> JsonObject:
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
