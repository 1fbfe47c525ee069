"""What the records of an entry say, and whether they, its files and its claim agree.

A fingerprint is a hash of settings and inputs, so no setting in a lineage can be changed without
changing all that follows. Who makes up a whole lineage is not found out by this; a wrong loss is.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from artifacts.content_hash import content_hash
from artifacts.record import ExternalFile, FileEntry, Record
from tasks.corpus.text import text_name
from tasks.leaderboard.entry import EVALUATION, FOLDERS, LINEAGE_FILE, Claim

OVERRUN_MINUTES = 0.1
"""Minutes that a training may end after its budget: a file may take long to be written."""


def validation_text(records: Mapping[str, Record], evaluation: Record) -> FileEntry | ExternalFile:
    """Return the file that an evaluation was made on; `KeyError` where no record tells."""
    shards = records[evaluation.inputs["valid"].fingerprint]
    text = records[shards.inputs["text"].fingerprint]
    files: dict[str, FileEntry | ExternalFile] = {file.name: file for file in text.files}
    return (files | {file.name: file for file in text.external_files})[text_name("valid")]


def check_lineage(folder: Path, records: Sequence[Record], claim: Claim) -> Record:
    """Return the model's record.

    Raises:
        FileNotFoundError: A file that a record names is missing.
        ValueError: Records, files and claim do not agree; the first thing is named.
    """
    path = folder / LINEAGE_FILE
    known = {record.fingerprint: record for record in records}
    for record in records:
        if record.identity.fingerprint != record.fingerprint:
            raise ValueError(f"{path}: settings or inputs of {record.place} were changed")
        for name, reference in record.inputs.items():
            if reference.fingerprint not in known:
                raise ValueError(f"{path}: {reference.place}, {name} of {record.place}, is missing")
    try:
        evaluation = next(r for r in records if r.stage == FOLDERS[EVALUATION])
        model = known[evaluation.inputs["model"].fingerprint]
        tokenizer = known[evaluation.inputs["tokenizer"].fingerprint]
        text = validation_text(known, evaluation)
        _check_budget(path, model)
    except (KeyError, StopIteration, TypeError) as error:
        raise ValueError(f"{path}: it does not lead from the evaluation to its text") from error
    for name, record in zip(FOLDERS, (model, tokenizer, evaluation), strict=True):
        _check_files(folder / name, record)
    if text.sha256 != claim.text_sha256:
        raise ValueError(
            f"{path}: the evaluation was made on the text {text.sha256[:16]}, the claim is about "
            f"{claim.text_sha256[:16]}"
        )
    return model


def _check_budget(path: Path, model: Record) -> None:
    minutes = float(model.statistics["seconds"]) / 60
    budget = float(model.config["train_lm"]["max_minutes"])
    if budget and minutes > budget + OVERRUN_MINUTES:
        raise ValueError(
            f"{path}: the training took {minutes:.1f} minutes, more than its budget of {budget:g}"
        )


def _check_files(folder: Path, record: Record) -> None:
    """Compare each file with the record of the artifact that it is a copy of."""
    for entry in record.files:
        path = folder / entry.name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing")
        found = content_hash(path, memo_dir=None)
        if (found.sha256, found.size_bytes) != (entry.sha256, entry.size_bytes):
            raise ValueError(
                f"{path} is not the file of {record.place}: sha256 {found.sha256[:16]} instead of "
                f"{entry.sha256[:16]}"
            )


def describe_training(model: Record) -> str:
    """Say what a model's record tells of its training; nobody can check it."""
    budget = model.config["train_lm"]["max_minutes"]
    environment = dict(model.statistics.get("environment") or {})
    place = environment.get("card") or environment.get("device") or "an unknown device"
    of_budget = f" of {budget:g}" if budget else ""
    minutes = model.statistics["seconds"] / 60
    return f"trained {minutes:.1f}{of_budget} minutes on {place}"
