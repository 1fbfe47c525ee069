"""Stage `encode_shards`: one split of the corpus as token shards.

Mapped over byte ranges; each range becomes one shard and the offsets of its documents.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from prefect import task
from prefect.client.schemas.objects import State

from artifacts.building.handover import take_over
from artifacts.building.staging import Staging, add_part, open_staging, part_head, staged_parts
from artifacts.identity import Identity, Reference
from artifacts.lease.lease import lease_of
from artifacts.published.reading import local_folder
from artifacts.record import JsonObject
from artifacts.store import Store
from tasks.context import RunContext, retry_options, store_of
from tasks.corpus.text import known_text_bytes, text_bytes, text_location
from tasks.execution.building import Built, Mapped, build_once, find_artifact, sole_builder
from tasks.execution.kernels import wait_until_compiled
from tasks.execution.map_ranges import ByteRange, map_ranges, part_name
from tasks.execution.prediction import Outlook, Prediction, predict_work
from tasks.stage import STAGE_OPTIONS, Stage, perform_in_flow
from tasks.train_tokenizer import known_bytes_per_token
from tokenizer.kernels.classify.class_ranges import CLASS_TABLE_SHA256

STAGE = "encode_shards"
VERSION = 1

INDEX = "index.json"

_HEADER_BYTES = 128
"""Of a .npy file that NumPy writes for a one-dimensional array (numpy.lib.format)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardSettings:
    """Where one split's text is cut into ranges and documents."""

    split: str
    range_bytes: int
    document_separator: str


def shards_identity(settings: ShardSettings, text: Reference, tokenizer: Reference) -> Identity:
    """Return what the shards depend on: text, tokenizer, and where the text is cut."""
    return Identity(
        stage=STAGE,
        version=VERSION,
        config={**asdict(settings), "character_classes": CLASS_TABLE_SHA256},
        inputs={"text": text, "tokenizer": tokenizer},
    )


def encode_shards(
    context: RunContext, identity: Identity, settings: ShardSettings
) -> State[Reference]:
    """Encode range by range in threads or on a cluster, then publish; called from a flow."""
    options = retry_options(context)
    finish = partial(
        finish_encode_shards.with_options(**options),
        context,
        identity,
        settings,
        return_state=True,
    )
    if find_artifact(context, identity) is not None:
        return finish()
    started_at = datetime.now(UTC)
    with sole_builder(context, identity) as lease:
        store = store_of(context)
        wait_until_compiled("encode", context.kernel_cache)
        ranges = _ranges(store, identity, settings)
        staged = staged_parts(take_over(lease))
        map_ranges(
            encode_range,
            ranges,
            finished=[n for n in range(len(ranges)) if {_shard(n), _documents(n)} <= set(staged)],
            context=context,
            description=f"encode {settings.split}",
            arguments={
                "identity": identity,
                "settings": settings,
                "attempt": lease.attempt,
            },
        )
        return finish(mapped=Mapped(since=started_at, attempt=lease.attempt))


@task(
    name="encode_shards_range",
    task_run_name="encode {settings.split} {start}-{stop}",
    **STAGE_OPTIONS,
)
def encode_range(
    context: RunContext,
    identity: Identity,
    settings: ShardSettings,
    attempt: str,
    number: int,
    start: int,
    stop: int,
) -> None:
    """Encode one byte range into a shard and the offsets of its documents."""
    from tokenizer.encoding.file_encoder import encode_file
    from tokenizer.encoding.tokenizer import Tokenizer

    store = store_of(context)
    staging = open_staging(store, identity, lease_of(store, identity, attempt))
    with TemporaryDirectory(prefix=".range-", dir=staging.workdir) as folder:
        shard, documents = Path(folder) / _shard(number), Path(folder) / _documents(number)
        encode_file(
            Tokenizer.from_folder(local_folder(store, identity.inputs["tokenizer"])),
            _text(store, identity, settings),
            start=start,
            stop=stop,
            output=shard,
            documents_output=documents,
            document_separator=settings.document_separator,
        )
        add_part(staging, shard, shard.name, move=True)
        add_part(staging, documents, documents.name, move=True)


@task(name=STAGE, task_run_name="encode_shards {settings.split}", **STAGE_OPTIONS)
def finish_encode_shards(
    context: RunContext,
    identity: Identity,
    settings: ShardSettings,
    mapped: Mapped | None = None,
) -> State[Reference]:
    """Publish the shards of all ranges with an index of what each holds."""

    def build(staging: Staging) -> Built:
        index = _index(_ranges(store_of(context), identity, settings), settings.split, staging)
        path = staging.workdir / INDEX
        path.write_text(json.dumps(index, indent=1) + "\n")
        add_part(staging, path, INDEX)
        return Built(statistics={name: fact for name, fact in index.items() if name != "shards"})

    return build_once(context, identity, build, mapped=mapped)


def predict(settings: ShardSettings, outlook: Outlook) -> Prediction:
    """Predict time and disk from the size of the text: two bytes a token."""
    size_bytes = known_text_bytes(outlook, settings.split)
    num_tokens = size_bytes / known_bytes_per_token(outlook) if size_bytes is not None else None
    found = predict_work(outlook, STAGE, size_bytes, text_bytes)
    return replace(found, disk_bytes=int(2 * num_tokens) if num_tokens is not None else None)


ENCODE_SHARDS = Stage(
    name=STAGE,
    identify=shards_identity,
    perform=perform_in_flow(encode_shards),
    predict=predict,
    is_mapped=True,
)


def _index(ranges: Sequence[ByteRange], split: str, staging: Staging) -> JsonObject:
    shards: list[JsonObject] = []
    dtype = ""
    for number, (start, stop) in enumerate(ranges):
        num_tokens, dtype = _npy_header(staging, _shard(number))
        num_documents, _ = _npy_header(staging, _documents(number))
        shards.append(
            {
                "shard": _shard(number),
                "documents": _documents(number),
                "start": start,
                "stop": stop,
                "num_tokens": num_tokens,
                "num_documents": num_documents,
            }
        )
    return {
        "split": split,
        "dtype": dtype,
        "size_bytes": sum(shard["stop"] - shard["start"] for shard in shards),
        "num_tokens": sum(shard["num_tokens"] for shard in shards),
        "num_documents": sum(shard["num_documents"] for shard in shards),
        "shards": shards,
    }


def _npy_header(staging: Staging, name: str) -> tuple[int, str]:
    """Return length and dtype of a staged one-dimensional array without reading its data."""
    from numpy.lib import format as npy

    file = BytesIO(part_head(staging, name, _HEADER_BYTES))
    npy.read_magic(file)
    shape, _, dtype = npy.read_array_header_1_0(file)
    return int(shape[0]), dtype.str


def _ranges(store: Store, identity: Identity, settings: ShardSettings) -> list[ByteRange]:
    from tokenizer.encoding.tokenizer import Tokenizer
    from tokenizer.text.ranges import byte_ranges

    tokenizer = Tokenizer.from_folder(local_folder(store, identity.inputs["tokenizer"]))
    return byte_ranges(
        _text(store, identity, settings),
        settings.range_bytes,
        special_tokens=tokenizer.special_tokens,
        pattern=tokenizer.pattern,
    )


def _text(store: Store, identity: Identity, settings: ShardSettings) -> str:
    return text_location(store, identity.inputs["text"], settings.split)


def _shard(number: int) -> str:
    return part_name("shard", number, ".npy")


def _documents(number: int) -> str:
    return part_name("documents", number, ".npy")
