"""What a report is asked to be about."""

from dataclasses import dataclass, field
from typing import Literal

from artifacts.record import JsonObject

Order = Literal["study", "course"]
"""`study`: from question to conclusion; `course`: by the problems of the course's assignment."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportSettings:
    """Everything that a page says and no artifact holds."""

    preset: str
    corpus: str
    arguments: str
    """What follows `owt run`, `owt sweep` and `owt report`: `--preset smoke --set ...`."""
    config: JsonObject
    """The run's settings, by section."""
    baseline: JsonObject
    """The settings that the recipe is compared with, by section."""
    stages: tuple[str, ...] = ()
    """The walk's stages with their splits, in order: `download train`."""
    sweeps: tuple[str, ...] = ()
    """Kinds of sweeps that `owt sweep` knows."""
    order: Order = "study"
    notes: tuple[str, ...] = field(default=())
    """What limits the numbers: how small the runs are."""
