"""What a stage is expected to take, from its config and from earlier artifacts of the stage."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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

    def of_stage(self, stage: str) -> list[Record]:
        """Return the artifacts of one stage, newest first."""
        return [record for record in self.records if record.stage == stage]


def predicted_seconds(
    earlier: Sequence[Record],
    amount: int | None = None,
    work_done: Callable[[Record], int] | None = None,
) -> float | None:
    """Return the seconds of the newest artifact, scaled where both amounts of work are known.

    Args:
        earlier: Artifacts of the stage, newest first.
        amount: Work that is planned, in bytes or FLOPs.
        work_done: Gives the work of an artifact, in the same unit.
    """
    if not earlier:
        return None
    done = work_done(earlier[0]) if work_done else 0
    return earlier[0].seconds * (amount / done if amount and done else 1.0)
