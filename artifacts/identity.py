"""What determines an artifact, and the place in every store that follows from it.

An artifact is identified by its stage, the stage's version, its config and its inputs. The
fingerprint is the hash of all four. Plans chain identities, so every fingerprint is known before
anything runs.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Protocol

from artifacts.fingerprint import check_stage, fingerprint

PLACE_DIGITS = 16
"""Hex digits of a fingerprint that name its folder: 64 bits. The record holds all 64 digits, and
these are compared."""


def place_of(stage: str, fingerprint: str) -> str:
    """Return an artifact's folder in any store: `stage/0123456789abcdef`.

    Raises:
        ValueError: The stage's name cannot be a folder of a store.
    """
    check_stage(stage)
    return f"{stage}/{fingerprint[:PLACE_DIGITS]}"


class ArtifactKey(Protocol):
    """What finds one artifact in a store: an `Identity`, a `Reference` or a `Record`."""

    @property
    def stage(self) -> str:
        """The stage that makes it."""

    @property
    def fingerprint(self) -> str:
        """All 64 hex digits."""

    @property
    def place(self) -> str:
        """Its folder in any store."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What tasks give to each other: which artifact, and where it was at that time."""

    stage: str
    fingerprint: str
    uri: str

    @property
    def place(self) -> str:
        """The artifact's folder in any store."""
        return place_of(self.stage, self.fingerprint)

    def to_json(self) -> dict[str, str]:
        """Return a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> "Reference":
        """Return the reference that `to_json` described; other keys are ignored."""
        return cls(str(data["stage"]), str(data["fingerprint"]), str(data["uri"]))


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Everything that an artifact's bytes depend on."""

    stage: str
    version: int
    """Bumped when the stage's code changes what comes out."""
    config: Mapping[str, object]
    inputs: Mapping[str, Reference]
    """By the name that the stage gives them."""

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of all of it, as 64 hex digits; where the inputs are does not count."""
        return fingerprint(
            stage=self.stage,
            stage_version=self.version,
            config=self.config,
            inputs={name: reference.fingerprint for name, reference in self.inputs.items()},
        )

    @property
    def place(self) -> str:
        """The artifact's folder in any store."""
        return place_of(self.stage, self.fingerprint)

    def reference(self, store_url: str) -> Reference:
        """Return the reference that the artifact has or will have in a store."""
        return Reference(self.stage, self.fingerprint, f"{store_url.rstrip('/')}/{self.place}")
