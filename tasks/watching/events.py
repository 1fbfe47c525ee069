"""What a run tells while it works, for whoever shows it: a terminal, a log, a page.

The work calls `emit`, and whoever wraps it in `observed_by` hears it. Events are plain data. One
stage works at a time, so what comes between its start and its end is about that stage.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["cached", "built", "stopped", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A run has begun."""

    title: str
    """Preset, and what differs from it."""
    stages: tuple[str, ...]
    """What will be performed, in order: stages with their split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparing:
    """Something is being done before the first stage."""

    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted:
    """A stage looks for its artifact, and builds it where there is none."""

    stage: str
    if_built: str = ""
    """Why it is built, if it is: what differs from the nearest artifact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageMissed:
    """The stage's artifact is not there, and will be built."""

    reason: str = ""
    """Where more is to say than that it is not there: it was damaged, or this was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEnded:
    """A stage has its artifact, or will not have it in this run."""

    stage: str
    outcome: Outcome
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """A piece of work is so far."""

    work: str
    done: int
    total: int
    """0 where it is not known yet."""
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileStarted:
    """Nothing moves for a while, because code is being compiled."""

    what: str
    expected_s: float | None
    """Seconds that it took before; `None` where nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileEnded:
    """The code is compiled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A line of a training's metrics."""

    step: int
    metrics: Mapping[str, float | int | bool | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """A stage continues what an earlier run left."""

    stage: str
    step: int
    max_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Something that a person should know."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """The process ends at once, and nothing more will be told."""


Event = (
    RunStarted
    | Preparing
    | StageStarted
    | StageMissed
    | StageEnded
    | Progressed
    | CompileStarted
    | CompileEnded
    | Measured
    | Resumed
    | Noted
    | Leaving
)
Observer = Callable[[Event], None]

_observer: ContextVar[Observer | None] = ContextVar("observer", default=None)


def emit(event: Event) -> None:
    """Tell the observer of this run, if it has one."""
    if (observer := _observer.get()) is not None:
        observer(event)


def observer_of_run() -> Observer | None:
    """Return who hears this run; for threads that do not have the run's context."""
    return _observer.get()


@contextmanager
def observed_by(observer: Observer) -> Iterator[None]:
    """Let an observer hear what the body tells."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)
