"""Stage `count_pretokens`: how often each pretoken stands in the training text.

Mapped over byte ranges. Counts are an artifact of their own, so that another vocabulary size
reuses them.
"""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prefect import task
from prefect.client.schemas.objects import State

from artifacts.identity import Identity, Reference
from artifacts.staging import Staging, add_part, open_staging, staged_parts
from artifacts.store import Store
from tasks.map_ranges import ByteRange, map_ranges, part_name
from tasks.stage import (
    STAGE_OPTIONS,
    Built,
    RunContext,
    build_once,
    find_artifact,
    sole_builder,
    store_of,
)
from tasks.text import text_location
from tokenizer.config import TokenizerConfig
from tokenizer.kernels.class_ranges import CLASS_TABLE_SHA256

STAGE = "count_pretokens"
VERSION = 1


def counts_identity(config: TokenizerConfig, text: Reference) -> Identity:
    """Say what the counts depend on: the split into pretokens, and the text."""
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
    context: RunContext, config: TokenizerConfig, text: Reference, **task_options: Any
) -> State[Any]:
    """Count range by range on the flow's task runner, then publish; called from a flow."""
    identity = counts_identity(config, text)
    finish = finish_count_pretokens.with_options(**task_options)
    if find_artifact(context, identity) is not None:
        return finish(context, identity, return_state=True)
    started_at = datetime.now(UTC)
    with sole_builder(context, identity):
        store = store_of(context)
        staged = staged_parts(open_staging(store, identity))
        ranges = count_ranges(store, identity)
        map_ranges(
            count_range.with_options(**task_options),
            ranges,
            finished=[n for n in range(len(ranges)) if part_name("part", n, ".parquet") in staged],
            workers=context.workers,
            description="count pretokens",
            arguments={"context": context, "identity": identity},
        )
        return finish(context, identity, mapped_since=started_at, return_state=True)


@task(name="count_pretokens_range", task_run_name="count_pretokens {start}-{stop}", **STAGE_OPTIONS)
def count_range(
    context: RunContext, identity: Identity, number: int, start: int, stop: int
) -> None:
    """Count the pretokens of one byte range into a part of their own."""
    from tokenizer.training.count import count_pretokens as count
    from tokenizer.training.counts import write_counts

    store = store_of(context)
    counts = count(
        _text(store, identity),
        start=start,
        stop=stop,
        pattern=str(identity.config["pattern"]),
        special_tokens=_special_tokens(identity),
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "part.parquet"
        write_counts(counts, path)
        staging = open_staging(store, identity)
        add_part(staging, path, part_name("part", number, ".parquet"), move=True)


@task(name=STAGE, task_run_name=STAGE, **STAGE_OPTIONS)
def finish_count_pretokens(
    context: RunContext, identity: Identity, mapped_since: datetime | None = None
) -> State[Reference]:
    """Publish the counts of all ranges as one artifact."""

    def build(staging: Staging) -> Built:
        ranges = count_ranges(store_of(context), identity)
        staged = staged_parts(staging)
        assert len(staged) == len(ranges)  # the flow ends before this where a range failed
        size_bytes = sum(stop - start for start, stop in ranges)
        return Built(statistics={"num_ranges": len(ranges), "size_bytes": size_bytes})

    return build_once(context, identity, build, mapped_since=mapped_since)


def count_ranges(store: Store, identity: Identity) -> list[ByteRange]:
    """Return the byte ranges that are counted apart."""
    from tokenizer.text.ranges import byte_ranges

    return byte_ranges(
        _text(store, identity),
        int(str(identity.config["range_bytes"])),
        special_tokens=_special_tokens(identity),
        pattern=str(identity.config["pattern"]),
    )


def _text(store: Store, identity: Identity) -> str:
    return text_location(store, identity.inputs["text"], "train")


def _special_tokens(identity: Identity) -> tuple[str, ...]:
    tokens = identity.config["special_tokens"]
    assert isinstance(tokens, tuple)  # set by `counts_identity`
    return tokens
