"""The store: a root on any filesystem, where things are in it, and how records are found.

Layout below the root, where `<place>` is `<stage>/<first 16 hex digits of the fingerprint>`:

    <place>/record.json         created once, last; without it there is no artifact
    <place>/<attempt>/...       the published files; the record names the attempt
    .staging/<place>/...        finished parts of an artifact that is being built
    .leases/<place>/...         who is building it
    .checked/<place>.json       stamps of the files when they were last hashed
    .quarantine/<place>-...     what was found damaged
    .pins/<place>.json          it is kept; .used/: when it was used; .needs/: what its build reads
"""

import errno
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from artifacts import filesystem
from artifacts.filesystem import Filesystem
from artifacts.identity import ArtifactKey, Reference
from artifacts.json_text import parse_json
from artifacts.names import local_place
from artifacts.record import Record, RecordFormatError

logger = logging.getLogger(__name__)

CACHE_LIMIT_BYTES = 64 * 2**30
"""Room for the 12 GB corpus, its shards and some models beside it."""

_SHOWN = 5
"""Artifacts that an error message lists."""


class DamagedRecordError(ValueError):
    """A record.json is there but cannot be read as this artifact's record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A place for artifacts. Made by `open_store`; holds no artifact data."""

    url: str
    """The root as users and records name it: a plain absolute path if local, else a URL."""
    fs: Filesystem
    root: str
    """The root's path inside the filesystem."""
    cache_dir: Path
    """Local folder for the working files of a remote store and for what is read from it."""
    cache_limit_bytes: int = CACHE_LIMIT_BYTES
    """Above this size the cache removes what was not used for the longest time."""
    held_folders: dict[str, int] = field(default_factory=dict, compare=False, repr=False)
    """File descriptors of the locks on the cache folders that this process uses."""


def open_store(url: str | Path, *, cache_dir: Path | None = None) -> Store:
    """Open the artifact store at a local path, `file://`, `memory://`, `s3://` or other fsspec URL.

    Nothing is created or contacted yet. Addresses of servers and keys come from the environment.

    Args:
        url: The root folder.
        cache_dir: Default: `.cache` in a local store, else `.cache/owt-artifacts` in the user's
            home folder.

    Raises:
        ValueError: The URL's protocol is unknown or its package is not installed.
        NotADirectoryError: There is a file of this name.
    """
    try:
        fs, root = filesystem.open_filesystem(str(url))
    except (ImportError, ValueError) as error:
        raise ValueError(
            f"cannot open the artifact store {str(url)!r}: {error}; give a local folder, "
            "memory://NAME, s3://BUCKET/PREFIX or another URL that fsspec knows "
            "(docs/stores.md has the packages)"
        ) from error
    local = filesystem.local_path(fs, root)
    if local is not None and local.exists() and not local.is_dir():
        raise NotADirectoryError(
            errno.ENOTDIR, f"the artifact store {root} is a file; name a folder (run.store)"
        )
    if cache_dir is None:
        cache_dir = local / ".cache" if local else Path.home() / ".cache" / "owt-artifacts"
    url = filesystem.full_url(fs, root)
    return Store(url=url, fs=fs, root=root, cache_dir=Path(cache_dir).absolute())


def record_path(store: Store, key: ArtifactKey) -> str:
    """Return the path of an artifact's record, inside the filesystem."""
    return f"{store.root}/{key.place}/record.json"


def published_path(store: Store, record: Record) -> str:
    """Return the path of the folder that holds the published files."""
    return f"{store.root}/{record.place}/{record.folder}"


def hidden_path(store: Store, area: str, key: ArtifactKey) -> str:
    """Return the path that belongs to an artifact in one of the store's own dot folders."""
    return f"{store.root}/.{area}/{key.place}"


def find_record(store: Store, key: ArtifactKey) -> Record | None:
    """Return the record of an artifact, or None if there is none; its files are not looked at.

    Raises:
        DamagedRecordError: There is one that cannot be read, or that is another artifact's.
        RecordFormatError: Another version of this program wrote it, in another format.
    """
    path = record_path(store, key)
    record = _read_record(store, path)
    if record is None or (record.stage, record.fingerprint) == (key.stage, key.fingerprint):
        return record
    raise DamagedRecordError(
        f"the record of {key.place} under {store.url} is that of "
        f"{record.stage}/{record.fingerprint}; quarantine it and build again"
    )


def _read_record(store: Store, path: str) -> Record | None:
    with filesystem.storage_explained(store.url):
        (data,) = filesystem.read_all(store.fs, [path])
    return _parsed(store, path, data)


def _parsed(store: Store, path: str, data: bytes | None) -> Record | None:
    if data is None:
        return None
    url = filesystem.full_url(store.fs, path)
    try:
        return Record.from_json(parse_json(data))
    except RecordFormatError as error:
        raise RecordFormatError(f"{url}: {error}") from error
    except ValueError as error:
        raise DamagedRecordError(
            f"{url} is damaged ({error}); quarantine it and build again"
        ) from error


def list_records(store: Store, stage: str | None = None) -> list[Record]:
    """Return the records of one stage or of all, newest first; damaged ones are left out.

    Raises:
        RecordFormatError: Another version of this program wrote one of them, in another format.
    """
    records = []
    for found in scan_records(store, stage):
        if isinstance(found, Record):
            records.append(found)
        else:
            logger.warning("left out of the list: %s", found)
    return sorted(records, key=lambda record: record.started_at, reverse=True)


def scan_records(store: Store, stage: str | None = None) -> Iterator[Record | DamagedRecordError]:
    """Yield each record of one stage or of all, or why it cannot be read, in no special order.

    Raises:
        RecordFormatError: Another version of this program wrote one of them, in another format.
    """
    with filesystem.storage_explained(store.url):
        stages = [stage] if stage else _visible_names(store, store.root)
        paths = [
            f"{store.root}/{name}/{short}/record.json"
            for name in stages
            for short in _visible_names(store, f"{store.root}/{name}")
        ]
        found = filesystem.read_all(store.fs, paths)
    for path, data in zip(paths, found, strict=True):
        try:
            record = _parsed(store, path, data)
        except DamagedRecordError as error:
            yield error
            continue
        if record is not None and record_path(store, record) != path:
            url = filesystem.full_url(store.fs, path)
            yield DamagedRecordError(f"{url} is the record of {record.place}; remove it")
        elif record is not None:
            yield record


def _visible_names(store: Store, folder: str) -> list[str]:
    return [name for name in filesystem.names_in(store.fs, folder) if not name.startswith(".")]


def reference_of(store: Store, record: Record) -> Reference:
    """Return what other stages know the artifact by."""
    uri = filesystem.full_url(store.fs, f"{store.root}/{record.place}")
    return Reference(record.stage, record.fingerprint, uri)


def record_of(store: Store, reference: Reference) -> Record:
    """Return the record that a reference points at.

    Raises:
        FileNotFoundError: The artifact is not in this store.
    """
    record = find_record(store, reference)
    if record is None:
        raise FileNotFoundError(
            f"no artifact {reference.place} under {store.url}; "
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
            return str(local_place(external.uri))
    if all(entry.name != name for entry in record.files):
        raise FileNotFoundError(no_such_file(record, name))
    return filesystem.full_url(store.fs, f"{published_path(store, record)}/{name}")


def no_such_file(record: Record, name: str) -> str:
    """Return the message for a name that an artifact does not have."""
    return (
        f"artifact {record.place} has no file {name!r}; "
        f"it has {', '.join(record.file_names) or 'none'}"
    )


def resolve(store: Store, text: str) -> Record:
    """Return the artifact that a user means; of several that fit by stage or label, the newest.

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
    found = fitting(pool, wanted)
    if len(found) == 1 or (found and not found[0].fingerprint.startswith(wanted)):
        return found[0]
    what = "fits several artifacts" if found else "fits no artifact"
    raise ValueError(f"{text!r} {what} under {store.url}; {_listing(found or pool or records)}")


def fitting(records: list[Record], wanted: str) -> list[Record]:
    """Return the records that a user may mean: by a fingerprint's start, else by a label."""
    by_prefix = [record for record in records if wanted and record.fingerprint.startswith(wanted)]
    return by_prefix or [record for record in records if _has_label(record, wanted)]


def _has_label(record: Record, wanted: str) -> bool:
    return any(wanted in (value, f"{key}={value}") for key, value in record.labels.items())


def _listing(records: list[Record]) -> str:
    shown = [" ".join([record.place, *record.labels.values()]) for record in records[:_SHOWN]]
    rest = len(records) - _SHOWN
    more = f', and {rest} more; "owt artifacts ls" lists them' if rest > 0 else ""
    return f"there are {', '.join(shown)}{more}" if shown else "there are none"
