"""Stage `count_pretokens`: how often each pretoken occurs in the training text.

Mapped over byte ranges. Counts are an artifact of their own, so that another vocabulary size
reuses them.
"""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from prefect import task
from prefect.client.schemas.objects import State

from artifacts.building.handover import take_over
from artifacts.building.staging import Staging, add_part, open_staging, staged_parts
from artifacts.identity import Identity, Reference
from artifacts.lease.lease import lease_of
from artifacts.store import Store
from tasks.context import RunContext, retry_options, store_of
from tasks.corpus.text import known_text_bytes, text_bytes, text_location
from tasks.execution.building import Built, Mapped, build_once, find_artifact, sole_builder
from tasks.execution.kernels import wait_until_compiled
from tasks.execution.map_ranges import ByteRange, map_ranges, part_name
from tasks.execution.prediction import Outlook, Prediction, predict_work
from tasks.stage import STAGE_OPTIONS, Stage, perform_in_flow
from tokenizer.config import TokenizerConfig
from tokenizer.kernels.classify.class_ranges import CLASS_TABLE_SHA256

STAGE = "count_pretokens"
VERSION = 1


def counts_identity(config: TokenizerConfig, text: Reference) -> Identity:
    """Return what the counts depend on: the split into pretokens, and the text."""
    return Identity(
        stage=STAGE,
        version=VERSION,
        config={
            "pattern": config.pattern,
            "special_tokens": config.special_tokens,
            "range_bytes": config.range_bytes,
            "character_classes": CLASS_TABLE_SHA256,
        },
        inputs={"text": text},
    )


def count_pretokens(
    context: RunContext, identity: Identity, config: TokenizerConfig
) -> State[Reference]:
    """Count range by range in threads or on a cluster, then publish; called from a flow."""
    options = retry_options(context)
    finish = partial(
        finish_count_pretokens.with_options(**options), context, identity, config, return_state=True
    )
    if find_artifact(context, identity) is not None:
        return finish()
    started_at = datetime.now(UTC)
    with sole_builder(context, identity) as lease:
        store = store_of(context)
        staged = staged_parts(take_over(lease))
        if config.pattern == "gpt2":  # other patterns have no kernels of their own
            wait_until_compiled("count", context.kernel_cache)
        ranges = count_ranges(store, identity, config)
        map_ranges(
            count_range,
            ranges,
            finished=[n for n in range(len(ranges)) if part_name("part", n, ".parquet") in staged],
            context=context,
            description="count pretokens",
            arguments={
                "identity": identity,
                "config": config,
                "attempt": lease.attempt,
            },
        )
        return finish(mapped=Mapped(since=started_at, attempt=lease.attempt))


@task(name="count_pretokens_range", task_run_name="count_pretokens {start}-{stop}", **STAGE_OPTIONS)
def count_range(
    context: RunContext,
    identity: Identity,
    config: TokenizerConfig,
    attempt: str,
    number: int,
    start: int,
    stop: int,
) -> None:
    """Count the pretokens of one byte range into a part of their own."""
    from tokenizer.training.count import count_pretokens as count
    from tokenizer.training.counts import write_counts

    store = store_of(context)
    counts = count(
        _text(store, identity),
        start=start,
        stop=stop,
        pattern=config.pattern,
        special_tokens=config.special_tokens,
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "part.parquet"
        write_counts(counts, path)
        staging = open_staging(store, identity, lease_of(store, identity, attempt))
        add_part(staging, path, part_name("part", number, ".parquet"), move=True)


@task(name=STAGE, task_run_name=STAGE, **STAGE_OPTIONS)
def finish_count_pretokens(
    context: RunContext,
    identity: Identity,
    config: TokenizerConfig,
    mapped: Mapped | None = None,
) -> State[Reference]:
    """Publish the counts of all ranges as one artifact."""

    def build(staging: Staging) -> Built:
        ranges = count_ranges(store_of(context), identity, config)
        staged = staged_parts(staging)
        assert len(staged) == len(ranges)  # the flow ends before this where a range failed
        size_bytes = sum(stop - start for start, stop in ranges)
        return Built(statistics={"num_ranges": len(ranges), "size_bytes": size_bytes})

    return build_once(context, identity, build, mapped=mapped)


def count_ranges(store: Store, identity: Identity, config: TokenizerConfig) -> list[ByteRange]:
    """Return the byte ranges that are counted apart."""
    from tokenizer.text.ranges import byte_ranges

    return byte_ranges(
        _text(store, identity),
        config.range_bytes,
        special_tokens=config.special_tokens,
        pattern=config.pattern,
    )


def predict(config: TokenizerConfig, outlook: Outlook) -> Prediction:
    """Predict the time from the size of the text."""
    del config
    size_bytes = known_text_bytes(outlook, "train")
    return predict_work(outlook, STAGE, size_bytes, text_bytes)


COUNT_PRETOKENS = Stage(
    name=STAGE,
    identify=counts_identity,
    perform=perform_in_flow(count_pretokens),
    predict=predict,
    is_mapped=True,
)


def _text(store: Store, identity: Identity) -> str:
    return text_location(store, identity.inputs["text"], "train")
