"""The record: one JSON file beside an artifact that says what it is, from what, made how.

A record is the artifact's only metadata: hits, lineage and reports are answered from records alone.
All classes here turn into JSON with `to_json` and back with `from_json`, value for value.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One published file: its name inside the artifact, with forward slashes, and its content."""

    name: str
    size_bytes: int
    sha256: str

    def to_json(self) -> JsonObject:
        """Return a JSON object."""
        return {"name": self.name, "size_bytes": self.size_bytes, "sha256": self.sha256}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "FileEntry":
        """Return the entry that `to_json` described."""
        return cls(str(data["name"]), int(data["size_bytes"]), str(data["sha256"]))


@dataclass(frozen=True, slots=True)
class ExternalFile:
    """A file that belongs to the artifact but lies elsewhere, as a user's own corpus does."""

    name: str
    uri: str
    size_bytes: int
    sha256: str

    def to_json(self) -> JsonObject:
        """Return a JSON object."""
        return {
            "name": self.name,
            "uri": self.uri,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ExternalFile":
        """Return the entry that `to_json` described."""
        size_bytes = int(data["size_bytes"])
        return cls(str(data["name"]), str(data["uri"]), size_bytes, str(data["sha256"]))


@dataclass(frozen=True, slots=True)
class Reference:
    """What tasks hand to each other: which artifact, and where it lay at that time."""

    stage: str
    fingerprint: str
    uri: str

    def to_json(self) -> JsonObject:
        """Return a JSON object."""
        return {"stage": self.stage, "fingerprint": self.fingerprint, "uri": self.uri}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Reference":
        """Return the reference that `to_json` described."""
        return cls(str(data["stage"]), str(data["fingerprint"]), str(data["uri"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Everything known about one artifact."""

    stage: str
    stage_version: int
    fingerprint: str
    config: JsonObject
    """What was fingerprinted."""
    inputs: dict[str, Reference]
    """By the name the stage gives them."""
    files: tuple[FileEntry, ...]
    """The published files, sorted by name."""
    folder: str
    """The attempt-unique folder beside the record in which the files lie."""
    external_files: tuple[ExternalFile, ...] = ()
    volatile: tuple[str, ...] = ()
    """Names of files that may differ between two builds of the same fingerprint (timings)."""
    statistics: JsonObject = field(default_factory=dict)
    """What the stage found out: bytes, documents, tokens, losses."""
    labels: dict[str, str] = field(default_factory=dict)
    """Names for people (preset, corpus); never part of the identity."""
    code_version: str = ""
    environment: JsonObject = field(default_factory=dict)
    started_at: str = ""
    """ISO 8601, UTC."""
    seconds: float = 0.0
    peak_rss_bytes: int = 0
    deterministic: bool = True
    """False where the bytes depend on a clock."""
    prefect_flow_run_id: str | None = None
    mlflow_run_id: str | None = None

    @property
    def file_names(self) -> list[str]:
        """Names of all files, published and external."""
        return [entry.name for entry in self.files] + [file.name for file in self.external_files]

    def to_json(self) -> JsonObject:
        """Return a JSON object with all fields."""
        data: JsonObject = {item.name: getattr(self, item.name) for item in fields(self)}
        data["inputs"] = {name: reference.to_json() for name, reference in self.inputs.items()}
        data["files"] = [entry.to_json() for entry in self.files]
        data["external_files"] = [entry.to_json() for entry in self.external_files]
        data["volatile"] = list(self.volatile)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Record":
        """Return the record that `to_json` described.

        Raises:
            ValueError: A field is missing or unknown, or has the wrong form.
        """
        try:
            values = dict(data)
            values["inputs"] = {
                name: Reference.from_json(item) for name, item in data["inputs"].items()
            }
            values["files"] = tuple(FileEntry.from_json(item) for item in data["files"])
            values["external_files"] = tuple(
                ExternalFile.from_json(item) for item in data["external_files"]
            )
            values["volatile"] = tuple(data["volatile"])
            return cls(**values)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not an artifact record: {error!r}") from error
