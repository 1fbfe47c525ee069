"""Which stages a field of the configuration changes, found by changing it."""

import copy
import hashlib
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from artifacts.identity import Reference
from flows.config import PipelineConfig
from flows.explaining.fields import Field, value_of
from flows.stages import walk_stages
from tasks.corpus.config import CorpusConfig
from tasks.corpus.source import Source
from tasks.stage import S, Stage


@dataclass(frozen=True, kw_only=True, slots=True)
class Influence:
    """What a changed field means for the artifacts."""

    fingerprinted: tuple[str, ...]
    """Stages whose own settings hold the field."""
    rebuilt: tuple[str, ...]
    """These and the stages that build on them, in the order of the flow."""


def influence_of(field: Field) -> Influence:
    """Return which stages a field changes; a text is known by its name here."""
    before = _identities_of(_plain_config())
    after = _identities_of(_changed(_plain_config(), field))
    return Influence(
        fingerprinted=_differing(before.settings, after.settings),
        rebuilt=_differing(before.fingerprints, after.fingerprints),
    )


def _plain_config() -> PipelineConfig:
    # Of the forms of a corpus, Parquet is the one that all fields matter to.
    corpus = CorpusConfig(train="a.parquet", valid="b.parquet")
    return PipelineConfig(corpus=corpus)


@cache
def _identities_of(config: PipelineConfig) -> "_Identities":
    found = _Identities()
    walk_stages(config, found)
    return found


def _differing(before: dict[str, list[Any]], after: dict[str, list[Any]]) -> tuple[str, ...]:
    return tuple(name for name, value in before.items() if value != after[name])


def _changed(config: PipelineConfig, field: Field) -> PipelineConfig:
    """Return the configuration with another value in a field, unchecked."""
    part = copy.copy(getattr(config, field.section))
    object.__setattr__(part, field.name, _another(value_of(config, field)))
    whole = copy.copy(config)
    object.__setattr__(whole, field.section, part)
    return whole


def _another(value: Any) -> Any:
    """Return a value of the same type that is not this one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, tuple):
        return (*value, *value[:1])
    return f"{value}x"


class _Identities:
    """A visitor that keeps what each stage's identity is made of."""

    def __init__(self) -> None:
        self.settings: dict[str, list[Any]] = {}
        self.fingerprints: dict[str, list[Any]] = {}

    def pin(self, source: Source) -> Source:
        return replace(source, sha256=hashlib.sha256(source.uri.encode()).hexdigest())

    def visit(
        self, stage: Stage[S], settings: S, label: str = "", **inputs: Reference
    ) -> Reference:
        del label
        identity = stage.identify(settings, **inputs)
        assert identity is not None  # every source was pinned
        self.settings.setdefault(stage.name, []).append(dict(identity.config))
        self.fingerprints.setdefault(stage.name, []).append(identity.fingerprint)
        return identity.reference("")
