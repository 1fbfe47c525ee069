"""The record: a JSON file beside an artifact that says what it is, from what, and how it was made.

A record is the artifact's only metadata: hits, lineage and reports are answered from records alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from artifacts.identity import Identity, Reference, place_of

FORMAT = 2
"""The record's format. It becomes a new one when a field changes its meaning or goes. A new field
with a default keeps it. Records of format 1 had no number."""

JsonObject = dict[str, Any]
"""A JSON object. Only the stage that wrote a value knows its type, so mypy cannot check it."""


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
        """Return the entry that was written with `dataclasses.asdict`."""
        return cls(str(data["name"]), int(data["size_bytes"]), str(data["sha256"]))


@dataclass(frozen=True, slots=True)
class ExternalFile:
    """A file that belongs to the artifact but is elsewhere, such as a user's own corpus."""

    name: str
    uri: str
    size_bytes: int
    sha256: str

    @classmethod
    def from_json(cls, data: JsonObject) -> "ExternalFile":
        """Return the entry that was written with `dataclasses.asdict`."""
        size_bytes = int(data["size_bytes"])
        return cls(str(data["name"]), str(data["uri"]), size_bytes, str(data["sha256"]))


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
    peak_rss_bytes: int = 0
    deterministic: bool = True
    """False where the bytes depend on a clock."""
    run_ids: Mapping[str, str] = field(default_factory=dict)
    """The runs that made it, by the name of the tracker that knows them."""


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
            values: JsonObject = {name: _PARSERS.get(name, _as_it_is)(data[name]) for name in data}
            unknown = {name: values.pop(name) for name in data if name not in known}
            unknown.pop("format", None)
            return cls(**values, unknown=unknown)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not an artifact record: {error!r}") from error


def _check_format(data: JsonObject) -> None:
    found = data.get("format", 1 if "fingerprint" in data else FORMAT)
    if found != FORMAT:
        writer = data.get("code_version") or "unknown"
        raise RecordFormatError(
            f"the record has format {found!r} (written by version {writer}), and this version "
            f"reads format {FORMAT}; use that version, or another store, or delete this store"
        )


def _as_it_is(value: object) -> object:
    return value


_PARSERS: dict[str, Callable[[Any], object]] = {
    "inputs": lambda items: {name: Reference.from_json(item) for name, item in items.items()},
    "files": lambda items: tuple(FileEntry.from_json(item) for item in items),
    "external_files": lambda items: tuple(ExternalFile.from_json(item) for item in items),
    "volatile": tuple,
}
"""Fields that are not JSON's own types."""
