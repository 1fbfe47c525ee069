"""Stage `download`: one split of the corpus as a text file that every stage can read in place.

Fetches, checks and unpacks what is elsewhere; a plain local file is referenced, not copied.
"""

from pathlib import Path
from typing import Any

from prefect import task
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from artifacts.content_hash import content_hash
from artifacts.fetching.unpacking import unpack
from artifacts.identity import Identity, Reference
from artifacts.reading import local_file
from artifacts.record import ExternalFile
from artifacts.staging import Staging, add_part
from tasks.corpora import STDLIB_SCHEME, CorpusConfig
from tasks.progress import progress
from tasks.sources import (
    Source,
    fetched_content,
    fetched_file,
    forget_fetched,
    known_content,
    source_of,
)
from tasks.stage import STAGE_OPTIONS, Built, RunContext, build_once, store_of
from tasks.stdlib_corpus import stdlib_text
from tasks.text import text_name

STAGE = "download"
VERSION = 1

DOCUMENT_HASHES = "document_hashes.npy"


def corpus_identity(
    config: CorpusConfig, source: Source, sha256: str, train: Reference | None
) -> Identity:
    """Say what a split's text depends on: the source's bytes and how they are unpacked.

    The validation split depends on the training split too, whose documents it must not repeat.
    """
    settings = {
        "split": source.split,
        "sha256": sha256,
        "form": source.form,
        "document_separator": config.document_separator,
    }
    if source.form == "parquet":
        settings["text_column"] = config.text_column
    inputs = {"train": train} if train is not None else {}
    return Identity(stage=STAGE, version=VERSION, config=settings, inputs=inputs)


@task(name=STAGE, task_run_name="download {split}", **STAGE_OPTIONS)
def download(
    context: RunContext, config: CorpusConfig, split: str, train: Reference | None = None
) -> State[Reference]:
    """Bring one split of the corpus here, and find out what it holds.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The bytes are not the expected ones, or hold no document.
    """
    source = source_of(config, split)
    root = Path(context.root)
    sha256 = known_content(source, config, root) or fetched_content(source, root)

    def build(staging: Staging) -> Built:
        text, external = _text(source, sha256, config, root, staging)
        statistics = _statistics(context, config, split, text, train, staging)
        if external is None:
            add_part(staging, text, text_name(split), move=True)
        return Built(statistics=statistics, external_files=(external,) if external else ())

    state = build_once(context, corpus_identity(config, source, sha256, train), build)
    forget_fetched(source, root)
    return state


def _text(
    source: Source, sha256: str, config: CorpusConfig, root: Path, staging: Staging
) -> tuple[Path, ExternalFile | None]:
    """Return the split's text on this machine, and where it lies if it stays there."""
    unpacked = staging.workdir / text_name(source.split)
    if source.is_stdlib:
        with unpacked.open("wb") as file:
            split = source.uri.removeprefix(STDLIB_SCHEME)
            file.writelines(stdlib_text(split, config.document_separator))
        return unpacked, None
    if source.form == "text" and source.local_path is not None:
        return _referenced(source, source.local_path.resolve(), root)
    original = source.local_path or fetched_file(source, root, sha256)
    if source.form == "text":
        return original, None
    unit = "rows" if source.form == "parquet" else "bytes"
    with progress(f"unpack {source.split}", unit=unit) as on_progress:
        if source.form == "parquet":
            from tokenizer.text.documents import write_text_from_parquet

            write_text_from_parquet(
                original,
                unpacked,
                column=config.text_column,
                separator=config.document_separator,
                on_progress=on_progress,
            )
        else:
            unpack(original, unpacked, compression=source.form, on_progress=on_progress)
    return unpacked, None


def _referenced(source: Source, path: Path, root: Path) -> tuple[Path, ExternalFile]:
    content = content_hash(str(path), memo_dir=root / "memo")
    name = text_name(source.split)
    return path, ExternalFile(name, path.as_uri(), content.size_bytes, content.sha256)


def _statistics(
    context: RunContext,
    config: CorpusConfig,
    split: str,
    text: Path,
    train: Reference | None,
    staging: Staging,
) -> dict[str, Any]:
    """Measure the text, stage its document hashes, and warn of what a person should know."""
    import numpy as np

    from tokenizer.text.documents import corpus_statistics, count_duplicates

    with progress(f"look through {split}") as on_progress:
        found = corpus_statistics(
            text, separator=config.document_separator, on_progress=on_progress
        )
    hashes = staging.workdir / DOCUMENT_HASHES
    np.save(hashes, found.document_hashes)
    add_part(staging, hashes, DOCUMENT_HASHES, move=True)
    statistics: dict[str, Any] = {
        "size_bytes": found.size_bytes,
        "num_documents": found.num_documents,
        "num_invalid_utf8_spans": found.num_invalid_utf8_spans,
        "num_cr": found.num_cr,
        "num_lf": found.num_lf,
        "num_crlf": found.num_crlf,
    }
    if train is not None:
        train_hashes = np.load(local_file(store_of(context), train, DOCUMENT_HASHES))
        statistics["num_train_duplicates"] = count_duplicates(found.document_hashes, train_hashes)
    _warn(split, statistics, config.document_separator)
    return statistics


def _warn(split: str, statistics: dict[str, Any], separator: str) -> None:
    logger = get_run_logger()
    if statistics["num_documents"] == 1:
        logger.warning("%s holds one document: %r does not occur in it", split, separator)
    if count := statistics["num_invalid_utf8_spans"]:
        logger.warning("%s has %d spans of invalid UTF-8, kept byte for byte", split, count)
    if count := statistics.get("num_train_duplicates"):
        logger.warning(
            "%d of the %d documents of %s stand in the training text too: "
            "its loss flatters the model",
            count,
            statistics["num_documents"],
            split,
        )
