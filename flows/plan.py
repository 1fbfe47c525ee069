"""What a run would do: every fingerprint before anything runs, what is cached, and why not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from artifacts.identity import Identity, Reference
from artifacts.published.checking import check
from artifacts.record import Record
from artifacts.store import Store, list_records
from flows.config import PipelineConfig
from flows.stages import placeholder, walk_stages
from tasks.corpus.source import Source, with_known_hash
from tasks.prediction import Outlook, Prediction
from tasks.stage import S, Stage
from tasks.tracking import flatten

UNKNOWN = "UNKNOWN"
"""The content of a corpus without a pin is known only when it was fetched."""


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """One row of a plan."""

    stage: str
    label: str
    status: str
    """HIT, MISS, STALE, LOCKED or UNKNOWN."""
    reason: str
    identity: Identity | None
    """`None` while the content of the corpus is unknown."""
    prediction: Prediction

    @property
    def fingerprint(self) -> str:
        """First 16 hex digits, the artifact's folder; "" while unknown."""
        return self.identity.place.rpartition("/")[2] if self.identity else ""


def plan_stages(config: PipelineConfig, store: Store, root: Path) -> list[PlannedStage]:
    """Return every stage with its status; nothing is built or fetched."""
    planning = _Planning(config, store, root)
    walk_stages(config, planning)
    return planning.rows


class _Planning:
    """Looks up what a run would find at each stage."""

    def __init__(self, config: PipelineConfig, store: Store, root: Path) -> None:
        self.store = store
        self.root = root
        self.outlook = Outlook(
            records=list_records(store),
            corpus=config.corpus.name,
            model=config.model,
            options=config.run.options,
        )
        self.rows: list[PlannedStage] = []

    def pin(self, source: Source) -> Source:
        return with_known_hash(source, self.root)

    def visit(
        self, stage: Stage[S], settings: S, label: str = "", **inputs: Reference
    ) -> Reference:
        is_known = all(reference.fingerprint for reference in inputs.values())
        identity = stage.identify(settings, **inputs) if is_known else None
        status, reason = self._status(identity)
        prediction = stage.predict(settings, self.outlook) if status != "HIT" else Prediction()
        row = PlannedStage(
            stage=stage.name,
            label=label,
            status=status,
            reason=reason,
            identity=identity,
            prediction=prediction,
        )
        self.rows.append(row)
        return identity.reference(self.store.url) if identity else placeholder(stage)

    def _status(self, identity: Identity | None) -> tuple[str, str]:
        if identity is None:
            return UNKNOWN, "the corpus must be fetched first"
        found = check(self.store, identity)
        reason = found.reason
        if found.status == "miss":
            reason = explain_miss(identity, self.outlook.of_stage(identity.stage))
        return found.status.upper(), reason


def explain_miss(identity: Identity, records: Sequence[Record]) -> str:
    """Name what differs from the most similar artifact of the stage in the store."""
    if not records:
        return f"no {identity.stage} artifact is there yet"
    differences = [_differences(identity, record) for record in records]
    fewest = min(differences, key=len)
    return "; ".join(fewest[:4]) + (f"; and {len(fewest) - 4} more" if len(fewest) > 4 else "")


def _differences(identity: Identity, record: Record) -> list[str]:
    wanted = flatten(identity.config)
    there = flatten(record.config)
    found = [
        f"{name}: {_short(there.get(name))} -> {_short(wanted.get(name))}"
        for name in sorted(wanted.keys() | there.keys())
        if _plain(wanted.get(name)) != _plain(there.get(name))
    ]
    inputs = _fingerprints(identity.inputs)
    known = _fingerprints(record.inputs)
    found += [f"input {name} changed" for name in inputs if inputs[name] != known.get(name)]
    if identity.version != record.stage_version:
        found.append(f"stage version: {record.stage_version} -> {identity.version}")
    return found


def _fingerprints(inputs: Mapping[str, Reference]) -> dict[str, str]:
    return {name: reference.fingerprint for name, reference in inputs.items()}


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) > 24 else text
