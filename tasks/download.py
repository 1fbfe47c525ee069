"""Stage `download`: one split of the corpus as a text file that every stage can read in place.

Fetches, checks and unpacks what is elsewhere; a plain local file is referenced, not copied.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from prefect import task
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from artifacts.building.staging import Staging, add_part, confirm
from artifacts.content_hash import content_hash
from artifacts.identity import Identity, Reference
from artifacts.published.reading import local_file
from artifacts.record import ExternalFile, JsonObject, Record
from artifacts.store import Store, reference_of
from tasks.context import RunContext, retry_options, store_of
from tasks.corpus.plain import plain_text
from tasks.corpus.source import Source, fetch_unknown, forget_fetched
from tasks.corpus.text import known_text_bytes, opening_words, text_bytes, text_name
from tasks.execution.building import Built, build_once
from tasks.execution.prediction import Outlook, Prediction, predict_work
from tasks.stage import STAGE_OPTIONS, Shown, Stage, perform_by
from tasks.watching.progress import progress
from tasks.watching.stopping import result_of, unless_stopped

STAGE = "download"
VERSION = 1

DOCUMENT_HASHES = "document_hashes.npy"


def text_identity(source: Source, train: Reference | None = None) -> Identity | None:
    """Return what a split's text depends on: the source's bytes and how they are unpacked.

    `None` while the bytes are unknown. The validation split depends on the training split too,
    whose documents it must not repeat.
    """
    if not source.sha256:
        return None
    settings: JsonObject = {
        "split": source.split,
        "sha256": source.sha256,
        "form": source.form,
        "document_separator": source.document_separator,
    }
    if source.form in ("parquet", "folder"):
        settings["text_column"] = source.text_column
    if source.valid_share:
        settings["valid_share"] = source.valid_share
    inputs = {"train": train} if train is not None else {}
    return Identity(stage=STAGE, version=VERSION, config=settings, inputs=inputs)


@task(task_run_name="fetch {source.split}", **STAGE_OPTIONS)
def fetch_source(context: RunContext, source: Source) -> Source:
    """Fetch a source whose bytes are unknown, so that its text has an identity."""
    return unless_stopped(lambda: fetch_unknown(source, Path(context.root)))


def pin_by_fetching(context: RunContext, source: Source) -> Source:
    """Fetch a source with the retries of the run; called from a flow."""
    fetch = fetch_source.with_options(**retry_options(context))
    state: Any = fetch(context, source, return_state=True)
    return cast("Source", result_of(state))


@task(name=STAGE, task_run_name="download {source.split}", **STAGE_OPTIONS)
def download(context: RunContext, identity: Identity, source: Source) -> State[Reference]:
    """Bring one split of the corpus here, and find out what it holds.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The bytes are not the expected ones, or hold no document.
    """
    root = Path(context.root)

    def build(staging: Staging) -> Built:
        text, external, part = _text(source, root, staging)
        statistics = part | _statistics(context, identity, source, text, staging)
        if external is None:
            add_part(staging, text, text_name(source.split), move=True)
        return Built(statistics=statistics, external_files=(external,) if external else ())

    state = build_once(context, identity, build)
    if not (source.valid_share and source.split == "train"):  # the other part is still to come
        forget_fetched(source, root)
    return state


def predict(source: Source, outlook: Outlook) -> Prediction:
    """Predict the time and disk of a text from its size, where this corpus was here before."""
    size_bytes = known_text_bytes(outlook, source.split)
    found = predict_work(outlook, STAGE, size_bytes, text_bytes)
    stays_there = source.form == "text" and source.local_path is not None
    return replace(found, disk_bytes=found.disk_bytes if stays_there else size_bytes)


def show(store: Store, record: Record) -> Shown:
    """Show the text as a dataset of the run, and how the validation text was chosen and begins."""
    split = str(record.config["split"])
    line = _describe_part(record) if split == "valid" and "valid_share" in record.config else ""
    prompt = opening_words(store, reference_of(store, record), split) if split == "valid" else ""
    return Shown(dataset=split, line=line, prompt=prompt)


DOWNLOAD = Stage(
    name=STAGE,
    identify=text_identity,
    perform=perform_by(download),
    predict=predict,
    show=show,
)


def _describe_part(record: Record) -> str:
    share, facts = record.config["valid_share"], record.statistics
    if not facts["num_part_documents"]:
        return f"no validation text was given: the last 1/{share} of the text validates"
    return (
        f"no validation text was given, held out are {facts['num_part_documents']} of the "
        f"{facts['num_all_documents']} documents: 1 in {share}, by a hash of their text"
    )


def _text(
    source: Source, root: Path, staging: Staging
) -> tuple[Path, ExternalFile | None, JsonObject]:
    """Return the split's text here, where it lies if it stays there, and facts of a part."""
    guard = partial(confirm, staging)
    destination = staging.workdir / text_name(source.split)
    if source.valid_share:
        whole = plain_text(source, root, staging.workdir / "whole.txt", guard)
        return destination, None, _write_part(source, whole, destination, guard)
    text = plain_text(source, root, destination, guard)
    if text == source.local_path:
        return *_referenced(source, text.resolve(), root), {}
    return text, None, {}


def _write_part(
    source: Source, whole: Path, destination: Path, guard: Callable[[], None]
) -> JsonObject:
    from tokenizer.text.held_out import write_part

    with progress(f"divide {source.split}", guard=guard) as on_progress:
        part = write_part(
            whole,
            destination,
            held_out=source.split == "valid",
            share=source.valid_share,
            separator=source.document_separator,
            on_progress=on_progress,
        )
    if whole.parent == destination.parent:  # not the user's own file
        whole.unlink()
    return {
        "num_part_documents": part.num_documents,
        "num_all_documents": part.num_all_documents,
    }


def _referenced(source: Source, path: Path, root: Path) -> tuple[Path, ExternalFile]:
    content = content_hash(path, memo_dir=root / "memo")
    name = text_name(source.split)
    return path, ExternalFile(name, str(path), content.size_bytes, content.sha256)


def _statistics(
    context: RunContext, identity: Identity, source: Source, text: Path, staging: Staging
) -> JsonObject:
    """Measure the text, stage its document hashes, and warn of what a person should know."""
    import numpy as np

    from tokenizer.text.documents import corpus_statistics, count_duplicates

    guard = partial(confirm, staging)
    with progress(f"look through {source.split}", guard=guard) as on_progress:
        found = corpus_statistics(
            text, separator=source.document_separator, on_progress=on_progress
        )
    hashes = staging.workdir / DOCUMENT_HASHES
    np.save(hashes, found.document_hashes)
    add_part(staging, hashes, DOCUMENT_HASHES, move=True)
    statistics: JsonObject = {
        "size_bytes": found.size_bytes,
        "num_documents": found.num_documents,
        "num_invalid_utf8_spans": found.num_invalid_utf8_spans,
        "num_cr": found.num_cr,
        "num_lf": found.num_lf,
        "num_crlf": found.num_crlf,
    }
    if train := identity.inputs.get("train"):
        train_hashes = np.load(local_file(store_of(context), train, DOCUMENT_HASHES))
        statistics["num_train_duplicates"] = count_duplicates(found.document_hashes, train_hashes)
    _warn(source, statistics)
    return statistics


def _warn(source: Source, statistics: JsonObject) -> None:
    logger, split = get_run_logger(), source.split
    num_documents = statistics.get("num_all_documents", statistics["num_documents"])
    if num_documents == 1 and not (source.valid_share and split == "valid"):  # told of train
        logger.warning(
            "%s holds one document; were there several, %r (corpus.document_separator) would be "
            "between them",
            split,
            source.document_separator,
        )
    if count := statistics["num_invalid_utf8_spans"]:
        logger.warning("%s has %d spans of invalid UTF-8, kept byte for byte", split, count)
    if count := statistics.get("num_train_duplicates"):
        logger.warning(
            "%d of the %d documents of %s are in the training text too: "
            "its loss flatters the model",
            count,
            statistics["num_documents"],
            split,
        )
