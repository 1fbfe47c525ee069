"""What a run would do: every fingerprint before anything runs, what is cached, and why not."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from artifacts.identity import Identity, Reference
from artifacts.published.checking import Check, check
from artifacts.published.difference import Difference, nearest
from artifacts.record import JsonObject, Record, RecordFormatError
from artifacts.store import Store, list_records
from flows.config import PipelineConfig
from flows.selection import Selection
from flows.stages import placeholder, walk_stages
from tasks.corpus.source import Source, with_known_hash
from tasks.corpus.text import with_source
from tasks.execution.prediction import Outlook, Prediction
from tasks.execution.source_closure import has_drifted
from tasks.stage import S, Stage, code_of, prediction_of, why_refused

logger = logging.getLogger(__name__)

UNKNOWN = "UNKNOWN"
"""The content of a corpus without a pin is known only when it was fetched."""

SHOWN = 3
"""Differences that the reason of a miss names."""

NONE_BUILT = "none was built yet"
ANOTHER_TEXT = "another text"
TEXT_HASH = "sha256"
"""The fact of a corpus artifact that says which bytes it was made from."""


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
    differences: Sequence[Difference] = ()
    """What differs from the nearest artifact of the stage, where there is one."""
    record: Record | None = None
    """The artifact that is there: what was measured when it was made."""
    obstacle: str = ""
    """Why this machine cannot build it; "": it can."""
    unfinished: str = ""
    """Where a stopped attempt resumes; "": there is none."""
    is_mapped: bool = False
    """Whether a cluster can share the work."""
    has_drifted: bool = False
    """Whether the stage's code is another one than the one that made the artifact."""

    @property
    def name(self) -> str:
        """The stage with its split."""
        return f"{self.stage} {self.label}".strip()

    @property
    def measured(self) -> JsonObject:
        """What the artifact took that is there; empty where there is none."""
        if self.record is None:
            return {}
        return {
            "seconds": self.record.seconds,
            "memory_bytes": self.record.peak_rss_bytes,
            "disk_bytes": sum(entry.size_bytes for entry in self.record.files),
        }

    @property
    def if_rebuilt(self) -> Prediction:
        """What building the artifact that is there took; it is the best prediction."""
        return Prediction(**self.measured)

    @property
    def fingerprint(self) -> str:
        """First 16 hex digits, the artifact's folder; "" while unknown."""
        return self.identity.place.rpartition("/")[2] if self.identity else ""


def plan_stages(config: PipelineConfig, store: Store, root: Path) -> list[PlannedStage]:
    """Return every stage with its status; nothing is built or fetched."""
    planning = _Planning(config, store, root)
    walk_stages(config, planning)
    return planning.rows


def in_selection(rows: Sequence[PlannedStage], selection: Selection) -> list[PlannedStage]:
    """Return the rows of a run's stages, as they are for a run with this selection."""
    return [_in_selection(row, selection) for row in rows if row.stage in selection.wanted]


def _in_selection(row: PlannedStage, selection: Selection) -> PlannedStage:
    if row.stage in selection.force and row.status == "HIT":
        return replace(row, status="MISS", reason="forced", prediction=row.if_rebuilt)
    if row.stage in selection.required and row.status != "HIT":
        return replace(row, reason=f"{row.reason}; this run would stop here")
    return row


def outlook_of(config: PipelineConfig, store: Store) -> Outlook:
    """Gather what predictions are made from."""
    try:
        records = list_records(store)
    except RecordFormatError as error:
        # Only what a stage itself needs may end a run; its own look then gives the error.
        logger.warning("nothing is predicted from earlier artifacts: %s", error)
        records = []
    return Outlook(
        records=records,
        corpus=config.corpus.name,
        model=config.model,
        options=config.run.options,
    )


class _Planning:
    """Looks up what a run would find at each stage."""

    def __init__(self, config: PipelineConfig, store: Store, root: Path) -> None:
        self.store = store
        self.root = root
        self.outlook = outlook_of(config, store)
        self.rows: list[PlannedStage] = []

    def pin(self, source: Source) -> Source:
        known = with_known_hash(source, self.root)
        self.outlook = with_source(self.outlook, known)
        return known

    def visit(
        self, stage: Stage[S], settings: S, label: str = "", **inputs: Reference
    ) -> Reference:
        is_known = all(reference.fingerprint for reference in inputs.values())
        identity = stage.identify(settings, **inputs) if is_known else None
        found = check(self.store, identity) if identity else None
        status = found.status.upper() if found else UNKNOWN
        refused = why_refused(found.record, self.outlook.options) if found and found.record else ""
        if status == "HIT" and refused:
            status = "STALE"
        record = found.record if found and status == "HIT" else None
        differences = None
        if identity and status == "MISS":
            planned = {row.identity.fingerprint: row.identity for row in self.rows if row.identity}
            differences = differences_from_nearest(identity, self.outlook, planned)
        self.rows.append(
            PlannedStage(
                stage=stage.name,
                label=label,
                status=status,
                reason=explain(differences) if status == "MISS" else refused or _reason(found),
                identity=identity,
                prediction=Prediction() if record else prediction_of(stage, settings, self.outlook),
                differences=differences or (),
                record=record,
                obstacle=stage.find_obstacle(settings, self.outlook.options),
                unfinished=stage.find_unfinished(self.store, identity) if identity else "",
                is_mapped=stage.is_mapped,
                has_drifted=_has_drifted(stage, record),
            )
        )
        return identity.reference(self.store.url) if identity else placeholder(stage)


def differences_from_nearest(
    identity: Identity, outlook: Outlook, planned: Mapping[str, Identity]
) -> list[Difference] | None:
    """Return how the nearest artifact of the stage differs; `None` where there is none.

    `planned` has the artifacts of this run, by their fingerprints.
    """

    def find(reference: Reference) -> Identity | None:
        record = outlook.record_of(reference)
        return record.identity if record else planned.get(reference.fingerprint)

    split = identity.config.get("split")  # one split's text is no neighbour of the other's
    others = [r for r in outlook.of_stage(identity.stage) if r.config.get("split") == split]
    found = nearest(identity, others, find)
    return found[1] if found else None


def explain_miss(identity: Identity, outlook: Outlook, planned: Mapping[str, Identity]) -> str:
    """Say in a few words why an artifact is not there: what differs from the nearest one."""
    return explain_briefly(differences_from_nearest(identity, outlook, planned))


def _has_drifted(stage: Stage[S], record: Record | None) -> bool:
    return record is not None and has_drifted(record.source_closure, code_of(stage))


def _reason(found: Check | None) -> str:
    return found.reason if found else "the corpus must be fetched first"


def explain(differences: Sequence[Difference] | None) -> str:
    """Say why an artifact is not there: what differs from the nearest one."""
    if differences is None:
        return NONE_BUILT
    settings = _without_texts(differences)
    parts = [ANOTHER_TEXT] if len(settings) < len(differences) else []
    for name, group in groupby(settings[:SHOWN], key=lambda found: found.input):
        facts = ", ".join(found.fact for found in group)
        parts.append(f"input {name}: {facts}" if name else facts)
    if len(settings) > SHOWN:
        parts.append(f"and {len(settings) - SHOWN} more")
    return "; ".join(parts)


def explain_briefly(differences: Sequence[Difference] | None) -> str:
    """Give the one reason that says most: another text, else the first setting that differs.

    >>> explain_briefly([Difference("model", "train_lm.max_steps", 300, 400)])
    'max_steps 300 -> 400'
    """
    if differences is None:
        return NONE_BUILT
    if not differences:
        return ""
    if len(_without_texts(differences)) < len(differences):
        return ANOTHER_TEXT
    first, more = differences[0], len(differences) - 1
    field, _, values = first.fact.partition(":")
    return f"{field.rpartition('.')[2]}{values}" + (f", and {more} more" if more else "")


def _without_texts(differences: Sequence[Difference]) -> list[Difference]:
    """Leave out what describes a text that is another one: its hash and its form tell no person."""
    texts = {found.input for found in differences if found.field == TEXT_HASH}
    return [found for found in differences if found.input not in texts]
