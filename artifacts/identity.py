"""What determines an artifact: stage, version, config and inputs, and the fingerprint of these.

Each stage file makes its own identities; the plan chains the same functions, so it knows every
fingerprint before anything runs. Imports no Prefect.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from artifacts.fingerprint import fingerprint
from artifacts.record import Reference

PLACE_DIGITS = 16
"""Hex digits of a fingerprint that name its folder."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Everything that an artifact's bytes depend on."""

    stage: str
    version: int
    """Bumped when the stage's code changes what comes out."""
    config: Mapping[str, object]
    inputs: Mapping[str, Reference]

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of all of it, as 64 hex digits; the inputs' places do not count."""
        return fingerprint(
            stage=self.stage,
            stage_version=self.version,
            config=self.config,
            inputs={name: reference.fingerprint for name, reference in self.inputs.items()},
        )

    @property
    def place(self) -> str:
        """The artifact's folder in any store."""
        return f"{self.stage}/{self.fingerprint[:PLACE_DIGITS]}"

    def reference(self, store_url: str) -> Reference:
        """Return the reference that the artifact has or will have in a store."""
        return Reference(self.stage, self.fingerprint, f"{store_url.rstrip('/')}/{self.place}")
