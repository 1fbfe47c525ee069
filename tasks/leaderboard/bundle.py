"""The audit bundle: an entry made of a run's artifacts, to be handed to somebody who checks it."""

import json
import shutil
import uuid
from pathlib import Path
from typing import Any

from prefect import task
from prefect.logging import get_run_logger

from artifacts.identity import Reference
from artifacts.published.reading import local_folder
from artifacts.record import JsonObject, Record
from artifacts.store import Store, record_of
from lm.accounting.parameters import num_parameters
from lm.config import ModelConfig
from tasks.context import RunContext, store_of
from tasks.leaderboard.entry import (
    ENTRY_FILE,
    EVALUATION,
    FORMAT,
    LINEAGE_FILE,
    MODEL,
    TOKENIZER,
    Claim,
)
from tasks.leaderboard.lineage import validation_text
from tasks.stage import STAGE_OPTIONS

BUNDLES = "entries"
"""Folder of the bundles, below the data root."""


@task(name="write_entry", task_run_name="write_entry", **STAGE_OPTIONS)
def write_entry(context: RunContext, evaluation: Reference, config: JsonObject) -> str:
    """Write the audit bundle of a run, and return its folder."""
    folder = write_bundle(store_of(context), Path(context.root), evaluation, config)
    get_run_logger().info("the audit bundle is in %s", folder)
    return str(folder)


def write_bundle(store: Store, root: Path, evaluation: Reference, config: JsonObject) -> Path:
    """Write an entry with its lineage below the data root, anew if it is there.

    Args:
        store: Where the artifacts are.
        root: The data root.
        evaluation: The evaluation, from which all the rest is found.
        config: The settings of the run.
    """
    folder = root / BUNDLES / record_of(store, evaluation).place.rpartition("/")[2]
    new = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        _fill(new, store, evaluation, config)
        if folder.exists():  # of the same settings; a run by the clock may give other weights
            shutil.rmtree(folder)
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return folder


def _fill(folder: Path, store: Store, evaluation: Reference, config: JsonObject) -> None:
    found = record_of(store, evaluation)
    copies = {
        EVALUATION: evaluation,
        MODEL: found.inputs["model"],
        TOKENIZER: found.inputs["tokenizer"],
    }
    for name, reference in copies.items():
        _copy(store, reference, folder / name)
    records = _ancestors(store, found, {})
    _write_json(folder / LINEAGE_FILE, [record.to_json() for record in records.values()])
    _write_json(folder / ENTRY_FILE, _entry(found, records, config))


def _copy(store: Store, reference: Reference, folder: Path) -> None:
    """Copy an artifact's files: a change in a bundle must not reach the store."""
    source = local_folder(store, reference)
    for entry in record_of(store, reference).files:
        destination = folder / entry.name
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / entry.name, destination)


def _ancestors(store: Store, record: Record, found: dict[str, Record]) -> dict[str, Record]:
    """Add the records of all that an artifact was made from, inputs first, by fingerprint."""
    for reference in record.inputs.values():
        if reference.fingerprint not in found:
            _ancestors(store, record_of(store, reference), found)
    found[record.fingerprint] = record
    return found


def _entry(evaluation: Record, records: dict[str, Record], config: JsonObject) -> JsonObject:
    model = records[evaluation.inputs["model"].fingerprint]
    facts, training = evaluation.statistics, model.statistics
    claim = Claim(
        loss=facts["loss"],
        context_length=facts["context_length"],
        text_sha256=validation_text(records, evaluation).sha256,
        num_tokens=facts["num_tokens"],
        bits_per_byte=facts["bits_per_byte"],
    )
    return {
        "format": FORMAT,
        "claim": claim.to_json(),
        "training": {
            "minutes": training["seconds"] / 60,
            "budget_minutes": model.config["train_lm"]["max_minutes"],
            "steps": training["step"],
            "tokens_seen": training["tokens_seen"],
            "num_parameters": num_parameters(ModelConfig(**model.config["model"])),
        },
        "config": config,
        "environment": {**model.environment, **training["environment"]},
        "code_version": model.code_version,
        "source_hashes": {record.stage: record.source_closure for record in records.values()},
        "artifacts": [record.place for record in records.values()],
    }


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
