"""The record: a JSON file beside an artifact that says what it is, from what, and how it was made.

A record is the artifact's only metadata: hits, lineage and reports are answered from records alone.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from artifacts.fingerprint import check_stage
from artifacts.identity import Identity, Reference, place_of
from artifacts.json_text import strings, typed
from artifacts.names import check_file_name, check_folder, local_place

FORMAT = 2
"""The record's format. It becomes a new one when a field changes its meaning or goes. A new field
with a default keeps it. Records of format 1 had no number."""

JsonObject = dict[str, Any]
"""A JSON object. Only the stage that wrote a value knows its type, so mypy cannot check it."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_SIZE_BYTES = 2**63


class RecordFormatError(ValueError):
    """A record has another format than the one this version reads."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One published file: its name inside the artifact, with forward slashes, and its content."""

    name: str
    size_bytes: int
    sha256: str

    @classmethod
    def from_json(cls, data: JsonObject) -> "FileEntry":
        """Return the entry that was written with `dataclasses.asdict`.

        Raises:
            ValueError: It is no entry, or its name leads out of the artifact.
        """
        name = typed(data, "name", str)
        check_file_name(name)
        return cls(name, _size(data), _sha256(data, "sha256"))


@dataclass(frozen=True, slots=True)
class ExternalFile:
    """A file that belongs to the artifact but is elsewhere, such as a user's own corpus."""

    name: str
    uri: str
    """An absolute path on the machine that made the record."""
    size_bytes: int
    sha256: str

    @classmethod
    def from_json(cls, data: JsonObject) -> "ExternalFile":
        """Return the entry that was written with `dataclasses.asdict`.

        Raises:
            ValueError: It is no entry, or it names something else than a local file.
        """
        name, uri = typed(data, "name", str), typed(data, "uri", str)
        check_file_name(name)
        local_place(uri)
        return cls(name, uri, _size(data), _sha256(data, "sha256"))


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFacts:
    """What only the builder of an artifact knows. None of it is part of the identity."""

    statistics: JsonObject = field(default_factory=dict)
    """What the stage found out: bytes, documents, tokens, losses."""
    external_files: tuple[ExternalFile, ...] = ()
    volatile: tuple[str, ...] = ()
    """Names of files that may differ between two builds of the same fingerprint (timings)."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Names for people (preset, corpus)."""
    code_version: str = ""
    environment: JsonObject = field(default_factory=dict)
    started_at: str = ""
    """ISO 8601, UTC."""
    seconds: float = 0.0
    """Of the attempt that made it, and of earlier ones whose work it resumed, where known."""
    peak_rss_bytes: int = 0
    deterministic: bool = True
    """False where the bytes depend on a clock."""
    run_ids: Mapping[str, str] = field(default_factory=dict)
    """The runs that made it, by the name of the tracker that knows them."""
    predicted: JsonObject = field(default_factory=dict)
    """What the plan expected it to take: seconds, memory_bytes, disk_bytes, flops."""
    source_closure: str = ""
    """Hash of the code that determines the bytes; only compared, never fingerprinted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(BuildFacts):
    """Everything known about one artifact."""

    stage: str
    stage_version: int
    fingerprint: str
    config: JsonObject
    """What was fingerprinted."""
    inputs: dict[str, Reference]
    """By the name that the stage gives them."""
    files: tuple[FileEntry, ...]
    """The published files, sorted by name."""
    folder: str
    """The folder beside the record that holds the files; each attempt to publish has its own."""
    unknown: JsonObject = field(default_factory=dict)
    """Fields of a later version, kept as they are."""

    @property
    def identity(self) -> Identity:
        """What was fingerprinted."""
        return Identity(
            stage=self.stage, version=self.stage_version, config=self.config, inputs=self.inputs
        )

    @property
    def place(self) -> str:
        """The artifact's folder in any store."""
        return place_of(self.stage, self.fingerprint)

    @property
    def file_names(self) -> list[str]:
        """Names of all files, published and external."""
        return [entry.name for entry in self.files] + [file.name for file in self.external_files]

    def to_json(self) -> JsonObject:
        """Return a JSON object with all fields: what the artifact is, then how it was made."""
        data = asdict(self)
        unknown = data.pop("unknown")
        facts = {item.name: data.pop(item.name) for item in fields(BuildFacts)}
        return {"format": FORMAT, **data, **facts, **unknown}

    @classmethod
    def from_json(cls, data: object) -> "Record":
        """Return the record that `to_json` described.

        Raises:
            RecordFormatError: It has another format.
            ValueError: It is no record: a field is missing or has the wrong form.
        """
        if not isinstance(data, dict):
            raise ValueError(f"not an artifact record but a {type(data).__name__}")
        _check_format(data)
        known = {item.name for item in fields(cls)} - {"unknown"}
        try:
            values: JsonObject = {
                name: _PARSERS[name](data) for name in data if name in known and name in _PARSERS
            }
            unknown = {name: data[name] for name in data if name not in known}
            unknown.pop("format", None)
            record = cls(**values, unknown=unknown)
            _check_names(record)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not an artifact record: {error}") from error
        return record


def _check_format(data: JsonObject) -> None:
    found = data.get("format", 1 if "fingerprint" in data else FORMAT)
    if found != FORMAT or type(found) is not int:
        writer = str(data.get("code_version") or "unknown")[:80]
        raise RecordFormatError(
            f"the record has format {repr(found)[:20]} (written by version {writer}), and this "
            f"version reads format {FORMAT}; use that version, or another store, or delete this "
            "store"
        )


def _check_names(record: Record) -> None:
    names = record.file_names
    if len(set(names)) < len(names):
        raise ValueError("two files have the same name")


def _size(data: JsonObject) -> int:
    size_bytes = typed(data, "size_bytes", int)
    if not 0 <= size_bytes < _MAX_SIZE_BYTES:
        raise ValueError(f"'size_bytes' is {size_bytes:.3g}, but must be at least 0")
    return size_bytes


def _sha256(data: JsonObject, name: str) -> str:
    value = typed(data, name, str)
    if not _SHA256.fullmatch(value):
        raise ValueError(f"{name!r} is {value[:80]!r}, but must be 64 hex digits")
    return value


def _stage(data: JsonObject) -> str:
    stage = typed(data, "stage", str)
    check_stage(stage)
    return stage


def _folder(data: JsonObject) -> str:
    folder = typed(data, "folder", str)
    check_folder(folder)
    return folder


def _inputs(data: JsonObject) -> dict[str, Reference]:
    inputs = typed(data, "inputs", dict)
    return {name: _reference(typed(inputs, name, dict)) for name in inputs}


def _reference(data: JsonObject) -> Reference:
    return Reference(_stage(data), _sha256(data, "fingerprint"), typed(data, "uri", str))


def _items(data: JsonObject, name: str) -> list[JsonObject]:
    items = data[name]
    if not isinstance(items, list | tuple) or not all(isinstance(item, dict) for item in items):
        raise ValueError(f"{name!r} must be a list of objects")
    return list(items)


def _volatile(data: JsonObject) -> tuple[str, ...]:
    names = data["volatile"]
    if not isinstance(names, list | tuple):
        raise ValueError("'volatile' must be a list of names")
    return tuple(typed({"volatile": name}, "volatile", str) for name in names)


_PARSERS: dict[str, Callable[[JsonObject], object]] = {
    "stage": _stage,
    "stage_version": lambda data: typed(data, "stage_version", int),
    "fingerprint": lambda data: _sha256(data, "fingerprint"),
    "config": lambda data: typed(data, "config", dict),
    "inputs": _inputs,
    "files": lambda data: tuple(map(FileEntry.from_json, _items(data, "files"))),
    "folder": _folder,
    "statistics": lambda data: typed(data, "statistics", dict),
    "external_files": lambda data: tuple(
        map(ExternalFile.from_json, _items(data, "external_files"))
    ),
    "volatile": _volatile,
    "labels": lambda data: strings(data, "labels"),
    "code_version": lambda data: typed(data, "code_version", str),
    "environment": lambda data: typed(data, "environment", dict),
    "started_at": lambda data: typed(data, "started_at", str),
    "seconds": lambda data: typed(data, "seconds", float),
    "peak_rss_bytes": lambda data: typed(data, "peak_rss_bytes", int),
    "deterministic": lambda data: typed(data, "deterministic", bool),
    "run_ids": lambda data: strings(data, "run_ids"),
    "predicted": lambda data: typed(data, "predicted", dict),
    "source_closure": lambda data: typed(data, "source_closure", str),
}
"""How each field is read and checked."""
