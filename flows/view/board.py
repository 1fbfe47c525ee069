"""What is known of a run at this moment, as its events told it; who shows it reads it here."""

import time
from dataclasses import dataclass, field

from tasks.watching.events import (
    CompileEnded,
    CompileStarted,
    Event,
    Measured,
    Noted,
    Outcome,
    Preparing,
    Progressed,
    Resumed,
    RunStarted,
    StageEnded,
    StageMissed,
    StageStarted,
)

TRAINING_UNIT = "steps"
MAX_NOTES = 5
"""Lines that are shown of what a person should know; all are in the log."""


@dataclass(kw_only=True, slots=True)
class Work:
    """Progress of one piece of work."""

    name: str
    unit: str
    began: float
    done_before: int
    """What was done already when it began: of an earlier run."""
    done: int = 0
    total: int = 0

    def rate(self, now: float) -> float:
        """Return units a second of this run; 0 as long as that says nothing."""
        seconds = now - self.began
        return (self.done - self.done_before) / seconds if seconds > 0.5 else 0.0

    def remaining_s(self, now: float) -> float | None:
        """Return the seconds that are left; `None` where that is not known."""
        rate = self.rate(now)
        return (self.total - self.done) / rate if rate and self.total else None


@dataclass(kw_only=True, slots=True)
class Compile:
    """Code that is being compiled."""

    what: str
    began: float
    expected_s: float | None


@dataclass(kw_only=True, slots=True)
class Row:
    """One stage of the run."""

    name: str
    began: float = 0.0
    outcome: Outcome | None = None
    seconds: float = 0.0
    if_built: str = ""
    reason: str = ""
    """Why it is built; empty as long as it is not known to be."""
    work: Work | None = None
    compile: Compile | None = None

    @property
    def is_working(self) -> bool:
        """Whether the run is at this stage."""
        return self.began > 0 and self.outcome is None


@dataclass(kw_only=True, slots=True)
class Training:
    """What the metrics of a training said last."""

    losses: list[float] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(kw_only=True, slots=True)
class Board:
    """A run as its events told it."""

    title: str = ""
    preparing: str = ""
    rows: list[Row] = field(default_factory=list)
    training: Training | None = None
    notes: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @property
    def row(self) -> Row | None:
        """The stage that the run is at."""
        return next((row for row in self.rows if row.is_working), None)

    def take(self, event: Event) -> None:
        """Note an event."""
        match event:
            case RunStarted():
                self.title, self.preparing = event.title, ""
                self.rows = [Row(name=name) for name in event.stages]
            case Preparing():
                self.preparing = event.what
            case Noted():
                self.notes = [*self.notes, event.text][-MAX_NOTES:]
            case Resumed():
                line = f"resumed: {event.stage} at step {event.step:,} of {event.max_steps:,}"
                self.take(Noted(text=line))
            case StageStarted() | StageEnded():
                self._turn_to(event)
            case _ if (row := self.row) is not None:
                self._note_work(row, event)

    def _turn_to(self, event: StageStarted | StageEnded) -> None:
        row = next((row for row in self.rows if row.name == event.stage), None)
        if row is None:
            row = Row(name=event.stage)
            self.rows.append(row)
        if isinstance(event, StageStarted):
            row.if_built = event.if_built
            row.began, self.training, self.preparing = time.monotonic(), None, ""
        else:
            row.outcome, row.seconds = event.outcome, event.seconds
            row.work = row.compile = None

    def _note_work(self, row: Row, event: Event) -> None:
        match event:
            case StageMissed():
                row.reason = event.reason or row.if_built or "not there"
            case CompileStarted():
                row.compile = Compile(
                    what=event.what, began=time.monotonic(), expected_s=event.expected_s
                )
            case CompileEnded():
                row.compile = None
            case Progressed():
                if row.work is None or row.work.name != event.work:
                    row.work = Work(
                        name=event.work,
                        unit=event.unit,
                        began=time.monotonic(),
                        done_before=event.done,
                    )
                row.work.done, row.work.total = event.done, event.total
            case Measured():
                self.training = self.training or Training()
                numbers = {k: v for k, v in event.metrics.items() if isinstance(v, (int, float))}
                self.training.metrics |= numbers
                if (loss := numbers.get("train/loss")) is not None:
                    self.training.losses.append(loss)
