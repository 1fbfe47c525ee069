"""What a stage is expected to take, from its config and from earlier artifacts of the stage."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log

from artifacts.identity import Reference
from artifacts.record import Record
from lm.config import ModelConfig, RunOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What a stage is expected to take; `None` where nothing is known yet."""

    seconds: float | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    flops: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """What predictions are made from."""

    records: Sequence[Record]
    """Every artifact of the store, newest first."""
    corpus: str
    """Name of the corpus that is planned."""
    model: ModelConfig
    """Shape of the model that is planned."""
    options: RunOptions
    """How the run is done on this machine."""
    text_bytes: Mapping[str, int] = field(default_factory=dict)
    """Bytes of each split's text, as far as its source tells before it is here."""

    def of_stage(self, stage: str) -> list[Record]:
        """Return the artifacts of one stage, newest first."""
        return [record for record in self.records if record.stage == stage]

    def record_of(self, reference: Reference) -> Record | None:
        """Return the record of an artifact, if it is in the store."""
        found = (record for record in self.records if record.fingerprint == reference.fingerprint)
        return next(found, None)

    def model_of(self, record: Record) -> ModelConfig | None:
        """Return the shape of the model that an artifact was made with."""
        model = self.record_of(record.inputs["model"])
        return ModelConfig(**model.config["model"]) if model else None


WorkDone = Callable[[Record], float | None]
"""Gives the work of an artifact, in bytes or FLOPs; `None` where it is unknown."""


def nearest_work(
    outlook: Outlook, stage: str, amount: float, work_done: WorkDone
) -> tuple[Record, float] | None:
    """Return the artifact with the nearest amount of work, the newest of several, and its work."""
    earlier = [(record, work_done(record)) for record in outlook.of_stage(stage)]
    known = [(record, done) for record, done in earlier if done]
    return min(known, key=lambda item: abs(log(amount / item[1])), default=None)


def predict_work(
    outlook: Outlook,
    stage: str,
    amount: float | None = 1.0,
    work_done: WorkDone = lambda _: 1.0,
) -> Prediction:
    """Scale what the artifact of the stage with the nearest amount of work took.

    Seconds and disk grow with the work. Memory does not: stages read in pieces.

    Args:
        outlook: What is known.
        stage: The stage's name.
        amount: Work that is planned, in bytes or FLOPs; `None`: unknown, so nothing is predicted.
        work_done: Gives the work of an artifact in the same unit.
    """
    found = nearest_work(outlook, stage, amount, work_done) if amount else None
    if found is None or not amount:
        return Prediction()
    record, done = found
    size_bytes = sum(entry.size_bytes for entry in record.files)
    scale = amount / done
    return Prediction(
        seconds=record.seconds * scale,
        memory_bytes=record.peak_rss_bytes or None,
        disk_bytes=int(size_bytes * scale),
    )
