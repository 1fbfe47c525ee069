"""Stage `encode_shards`: one split of the corpus as token shards.

Mapped over byte ranges; each range becomes one shard and the offsets of its documents.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prefect import task
from prefect.client.schemas.objects import State

from artifacts.identity import Identity, Reference
from artifacts.reading import local_folder
from artifacts.staging import Staging, add_part, open_part, open_staging, staged_parts
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

STAGE = "encode_shards"
VERSION = 1

INDEX = "index.json"


def shards_identity(
    config: TokenizerConfig, split: str, separator: str, text: Reference, tokenizer: Reference
) -> Identity:
    """Say what the shards depend on: text, tokenizer, and where the text is cut."""
    return Identity(
        stage=STAGE,
        version=VERSION,
        config={
            "split": split,
            "range_bytes": config.range_bytes,
            "document_separator": separator,
            "character_classes": CLASS_TABLE_SHA256,
        },
        inputs={"text": text, "tokenizer": tokenizer},
    )


def encode_shards(context: RunContext, identity: Identity, **task_options: Any) -> State[Any]:
    """Encode range by range on the flow's task runner, then publish; called from a flow."""
    split = identity.config["split"]
    finish = finish_encode_shards.with_options(task_run_name=f"{STAGE} {split}", **task_options)
    if find_artifact(context, identity) is not None:
        return finish(context, identity, return_state=True)
    started_at = datetime.now(UTC)
    with sole_builder(context, identity):
        store = store_of(context)
        ranges = _ranges(store, identity)
        staged = staged_parts(open_staging(store, identity))
        map_ranges(
            encode_range.with_options(**task_options),
            ranges,
            finished=[n for n in range(len(ranges)) if {_shard(n), _documents(n)} <= set(staged)],
            workers=context.workers,
            description=f"encode {split}",
            arguments={"context": context, "identity": identity},
        )
        return finish(context, identity, mapped_since=started_at, return_state=True)


@task(
    name="encode_shards_range",
    task_run_name="encode {identity.config[split]} {start}-{stop}",
    **STAGE_OPTIONS,
)
def encode_range(
    context: RunContext, identity: Identity, number: int, start: int, stop: int
) -> None:
    """Encode one byte range into a shard and the offsets of its documents."""
    from tokenizer.encoding.file_encoder import encode_file
    from tokenizer.encoding.tokenizer import Tokenizer

    store = store_of(context)
    staging = open_staging(store, identity)
    with TemporaryDirectory(dir=staging.workdir) as folder:
        shard, documents = Path(folder) / _shard(number), Path(folder) / _documents(number)
        encode_file(
            Tokenizer.from_folder(local_folder(store, identity.inputs["tokenizer"])),
            _text(store, identity),
            start=start,
            stop=stop,
            output=shard,
            documents_output=documents,
            document_separator=str(identity.config["document_separator"]),
        )
        add_part(staging, shard, shard.name, move=True)
        add_part(staging, documents, documents.name, move=True)


@task(name=STAGE, **STAGE_OPTIONS)
def finish_encode_shards(
    context: RunContext, identity: Identity, mapped_since: datetime | None = None
) -> State[Reference]:
    """Publish the shards of all ranges with an index of what each holds."""

    def build(staging: Staging) -> Built:
        index = _index(store_of(context), identity, staging)
        path = staging.workdir / INDEX
        path.write_text(json.dumps(index, indent=1) + "\n")
        add_part(staging, path, INDEX)
        return Built(statistics={name: fact for name, fact in index.items() if name != "shards"})

    return build_once(context, identity, build, mapped_since=mapped_since)


def _index(store: Store, identity: Identity, staging: Staging) -> dict[str, Any]:
    shards: list[dict[str, Any]] = []
    dtype = ""
    for number, (start, stop) in enumerate(_ranges(store, identity)):
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
        "split": identity.config["split"],
        "dtype": dtype,
        "size_bytes": sum(shard["stop"] - shard["start"] for shard in shards),
        "num_tokens": sum(shard["num_tokens"] for shard in shards),
        "num_documents": sum(shard["num_documents"] for shard in shards),
        "shards": shards,
    }


def _npy_header(staging: Staging, name: str) -> tuple[int, str]:
    """Return length and dtype of a staged one-dimensional array without reading its data."""
    from numpy.lib import format as npy

    with open_part(staging, name) as file:
        npy.read_magic(file)
        shape, _, dtype = npy.read_array_header_1_0(file)
    return int(shape[0]), dtype.str


def _ranges(store: Store, identity: Identity) -> list[ByteRange]:
    from tokenizer.encoding.tokenizer import Tokenizer
    from tokenizer.text.ranges import byte_ranges

    tokenizer = Tokenizer.from_folder(local_folder(store, identity.inputs["tokenizer"]))
    return byte_ranges(
        _text(store, identity),
        int(str(identity.config["range_bytes"])),
        special_tokens=tokenizer.special_tokens,
        pattern=tokenizer.pattern,
    )


def _text(store: Store, identity: Identity) -> str:
    return text_location(store, identity.inputs["text"], str(identity.config["split"]))


def _shard(number: int) -> str:
    return part_name("shard", number, ".npy")


def _documents(number: int) -> str:
    return part_name("documents", number, ".npy")
