"""The store: a root on any filesystem, where things lie in it, and how records are found.

Layout below the root, with fp16 for the first 16 hex digits of a fingerprint:

    <stage>/<fp16>/record.json      created once, last; without it there is no artifact
    <stage>/<fp16>/<attempt>/...    the published files; the record names the attempt
    .staging/<stage>/<fp16>/...     finished parts of an artifact that is being built
    .leases/<stage>/<fp16>/...      who is building it
    .checked/<stage>/<fp16>.json    stamps of the files when they were last hashed
    .quarantine/<stage>/<fp16>...   what was found damaged
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artifacts import filesystem
from artifacts.fingerprint import check_stage
from artifacts.record import Record, Reference

logger = logging.getLogger(__name__)

# Room for the 12 GB corpus, its shards and some models beside it.
DEFAULT_CACHE_LIMIT_BYTES = 64 * 2**30

# 64 bits of the hash in folder names; the record holds all of it and is compared in full.
_SHORT = 16


class DamagedRecordError(ValueError):
    """A record.json is there but cannot be read as this artifact's record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A place for artifacts. Made by `open_store`; holds no artifact data."""

    url: str
    """The root as users and records name it: a plain absolute path if local, else a URL."""
    fs: Any
    """The fsspec filesystem."""
    root: str
    """The root's path inside the filesystem."""
    cache_dir: Path
    """Local folder for the working files of a remote store and for what is read from it."""
    cache_limit_bytes: int
    """The cache evicts what was used least recently above this."""
    held_folders: dict[str, int] = field(default_factory=dict, compare=False, repr=False)
    """File descriptors of the locks on the cache folders that this process uses."""


def open_store(
    url: str | Path,
    *,
    cache_dir: Path | None = None,
    cache_limit_bytes: int = DEFAULT_CACHE_LIMIT_BYTES,
    options: Mapping[str, Any] | None = None,
) -> Store:
    """Open the artifact store at a local path, `file://`, `memory://`, `s3://` or other fsspec URL.

    Nothing is created or contacted yet.

    Args:
        url: The root folder.
        cache_dir: Default: `.cache` in a local store, else `.cache/owt-artifacts` in the user's
            home folder.
        cache_limit_bytes: Cap of the read-through cache of a remote store.
        options: fsspec's options for the filesystem (endpoint, credentials), which by default
            come from the environment.

    Raises:
        ValueError: The URL's protocol is unknown or its package is not installed.
    """
    if cache_limit_bytes < 0:
        raise ValueError(f"cache_limit_bytes ({cache_limit_bytes}) must be 0 or more")
    try:
        fs, root = filesystem.open_filesystem(str(url), options or {})
    except (ImportError, ValueError) as error:
        raise ValueError(
            f"cannot open the artifact store {str(url)!r}: {error}; give a local folder, "
            "memory://NAME, s3://BUCKET/PREFIX or another URL that fsspec knows"
        ) from error
    if cache_dir is None:
        local = filesystem.local_path(fs, root)
        cache_dir = local / ".cache" if local else Path.home() / ".cache" / "owt-artifacts"
    return Store(
        url=filesystem.full_url(fs, root),
        fs=fs,
        root=root,
        cache_dir=Path(cache_dir).absolute(),
        cache_limit_bytes=cache_limit_bytes,
    )


def artifact_path(store: Store, stage: str, fingerprint: str) -> str:
    """Return the path, inside the filesystem, of the folder that holds the record."""
    check_stage(stage)
    return f"{store.root}/{stage}/{fingerprint[:_SHORT]}"


def record_path(store: Store, stage: str, fingerprint: str) -> str:
    """Return the path of the record."""
    return f"{artifact_path(store, stage, fingerprint)}/record.json"


def published_path(store: Store, record: Record) -> str:
    """Return the path of the folder that holds the published files."""
    return f"{artifact_path(store, record.stage, record.fingerprint)}/{record.folder}"


def hidden_path(store: Store, area: str, stage: str, fingerprint: str) -> str:
    """Return the path that belongs to an artifact in one of the store's own dot folders."""
    check_stage(stage)
    return f"{store.root}/.{area}/{stage}/{fingerprint[:_SHORT]}"


def find_record(store: Store, stage: str, fingerprint: str) -> Record | None:
    """Return the record of an artifact, or None if there is none; its files are not looked at.

    Raises:
        DamagedRecordError: There is one that cannot be read, or that is another artifact's.
    """
    path = record_path(store, stage, fingerprint)
    (data,) = filesystem.read_all(store.fs, [path])
    record = _parsed(store, path, data)
    if record is None or (record.stage, record.fingerprint) == (stage, fingerprint):
        return record
    raise DamagedRecordError(
        f"the record of {stage}/{fingerprint[:_SHORT]} under {store.url} is that of "
        f"{record.stage}/{record.fingerprint}; quarantine it and build again"
    )


def _parsed(store: Store, path: str, data: bytes | None) -> Record | None:
    if data is None:
        return None
    try:
        return Record.from_json(json.loads(data))
    except ValueError as error:
        raise DamagedRecordError(
            f"{filesystem.full_url(store.fs, path)} is damaged ({error}); "
            "quarantine it and build again"
        ) from error


def list_records(store: Store, stage: str | None = None) -> list[Record]:
    """Return the records of one stage or of all, newest first; damaged ones are left out."""
    stages = [stage] if stage else _visible_names(store, store.root)
    paths = [
        f"{store.root}/{name}/{short}/record.json"
        for name in stages
        for short in _visible_names(store, f"{store.root}/{name}")
    ]
    records = []
    for path, data in zip(paths, filesystem.read_all(store.fs, paths), strict=True):
        try:
            record = _parsed(store, path, data)
        except DamagedRecordError as error:
            logger.warning("left out of the list: %s", error)
            continue
        if record is not None:
            records.append(record)
    return sorted(records, key=lambda record: record.started_at, reverse=True)


def _visible_names(store: Store, folder: str) -> list[str]:
    return [name for name in filesystem.names_in(store.fs, folder) if not name.startswith(".")]


def reference_of(store: Store, record: Record) -> Reference:
    """Return what other stages know the artifact by."""
    path = artifact_path(store, record.stage, record.fingerprint)
    return Reference(record.stage, record.fingerprint, filesystem.full_url(store.fs, path))


def record_of(store: Store, reference: Reference) -> Record:
    """Return the record that a reference points at.

    Raises:
        FileNotFoundError: The artifact is not in this store.
    """
    record = find_record(store, reference.stage, reference.fingerprint)
    if record is None:
        raise FileNotFoundError(
            f"no artifact {reference.stage}/{reference.fingerprint[:_SHORT]} under {store.url}; "
            f'run "owt run --only {reference.stage}"'
        )
    return record


def file_uri(store: Store, reference: Reference, name: str) -> str:
    """Return where a file of an artifact can be opened: a plain path if local, a URL if not.

    Raises:
        FileNotFoundError: The artifact is not in this store, or has no such file.
    """
    record = record_of(store, reference)
    for external in record.external_files:
        if external.name == name:
            return external.uri
    if all(entry.name != name for entry in record.files):
        raise FileNotFoundError(no_such_file(record, name))
    return filesystem.full_url(store.fs, f"{published_path(store, record)}/{name}")


def no_such_file(record: Record, name: str) -> str:
    """Return the message for a name that an artifact does not have."""
    return (
        f"artifact {record.stage}/{record.fingerprint[:_SHORT]} has no file {name!r}; "
        f"it has {', '.join(record.file_names) or 'none'}"
    )


def resolve(store: Store, text: str) -> Record:
    """Return the artifact that a user means; where several fit by stage or label, the newest.

    Args:
        store: Where to look.
        text: A stage, `stage/fingerprint-prefix`, a fingerprint prefix, a label's value, or
            `label=value`; `stage/label` narrows a label to a stage.

    Raises:
        ValueError: Nothing fits, or a prefix fits several; the message lists what there is.
    """
    records = list_records(store)
    by_stage = [record for record in records if record.stage == text]
    if by_stage:
        return by_stage[0]
    stage, slash, rest = text.partition("/")
    pool = [record for record in records if record.stage == stage] if slash else records
    wanted = rest if slash else text
    by_prefix = [record for record in pool if wanted and record.fingerprint.startswith(wanted)]
    if len(by_prefix) == 1:
        return by_prefix[0]
    by_label = [record for record in pool if _has_label(record, wanted)]
    if by_label:
        return by_label[0]
    what = "fits several artifacts" if by_prefix else "fits no artifact"
    raise ValueError(f"{text!r} {what} under {store.url}; {_listing(by_prefix or records)}")


def _has_label(record: Record, wanted: str) -> bool:
    return any(wanted in (value, f"{key}={value}") for key, value in record.labels.items())


def _listing(records: list[Record], limit: int = 20) -> str:
    lines = [
        " ".join([f"{record.stage}/{record.fingerprint[:_SHORT]}", *record.labels.values()])
        for record in records[:limit]
    ]
    more = f", and {len(records) - limit} more" if len(records) > limit else ""
    return f"there are {', '.join(lines)}{more}" if lines else "there are none"
