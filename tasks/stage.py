"""What the pipeline knows of a stage: how it is identified, performed, predicted and shown."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar, cast

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from artifacts.identity import Identity, Reference
from artifacts.record import Record
from artifacts.store import Store
from lm.config import RunOptions
from tasks.context import RunContext, retry_options
from tasks.execution.prediction import Outlook, Prediction
from tasks.execution.retry import retry_transient, try_again_in_flow
from tasks.execution.source_closure import source_closure

STAGE_OPTIONS: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retry_condition_fn": retry_transient,
}
"""Prefect options of every stage's tasks, of the types that Prefect wants; `retry_options` adds the
retries of the run."""

S = TypeVar("S")
"""Settings of a stage: a section of the config, or the part of it that the stage needs."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a person sees of an artifact when a run ends; plain data for terminal and MLflow."""

    line: str = ""
    """A line or two under the table of stages."""
    text: str = ""
    """A text worth reading as a whole."""
    text_title: str = ""
    text_note: str = ""
    """One line under the text."""
    text_name: str = ""
    """File name of the text in MLflow."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Headline numbers, by the names of their curves in MLflow."""
    prompt: str = ""
    """How the text begins: what a model of it can be asked to continue."""
    dataset: str = ""
    """Name under which MLflow lists the artifact as an input of the run."""


def show_nothing(store: Store, record: Record) -> Shown:
    """Show no more of an artifact than its line in the table of stages."""
    del store, record
    return Shown()


def find_nothing(*_: object) -> str:
    """Say nothing: the stage needs no device, and keeps no unfinished work of its own."""
    return ""


@dataclass(frozen=True, kw_only=True)
class Stage(Generic[S]):
    """Everything that the pipeline knows of one stage; each stage's file makes one."""

    name: str
    identify: Callable[..., Identity | None]
    """Gives the identity from the settings and, by keyword, the references of the inputs; `None`
    as long as the content of a corpus is unknown."""
    perform: Callable[[RunContext, Identity, S], State[Reference]]
    """Finds or builds the artifact; called from a flow."""
    predict: Callable[[S, Outlook], Prediction]
    show: Callable[[Store, Record], Shown] = show_nothing
    find_obstacle: Callable[[S, RunOptions], str] = find_nothing
    """Says why this machine cannot do the work; "": it can."""
    find_unfinished: Callable[[Store, Identity], str] = find_nothing
    """Says where a stopped attempt resumes; "": there is none, or it cannot be told."""
    is_mapped: bool = False
    """Whether the work is divided into byte ranges, which a cluster can share."""


def why_refused(record: Record, options: RunOptions) -> str:
    """Return why a run does not take a sound artifact, or an empty string.

    A model of a GPU without determinism is one of many that the same configuration can give.
    """
    if options.deterministic and record.statistics.get("nondeterminism") == "device":
        return "trained on a GPU without determinism, which run.deterministic asks for"
    return ""


def prediction_of(stage: Stage[S], settings: S, outlook: Outlook) -> Prediction:
    """Predict what a stage takes; nothing, where earlier records hold something unexpected."""
    try:
        return stage.predict(settings, outlook)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return Prediction()  # only an estimate: it must not end a run


def code_of(stage: Stage[S]) -> str:
    """Return the hash of the code that determines the bytes of a stage's artifacts."""
    return source_closure(stage.identify.__module__)


def perform_by(task: Task[..., Any]) -> Callable[[RunContext, Identity, S], State[Reference]]:
    """Return how a stage of one task is performed: with the run's retries, giving its state."""

    def perform(context: RunContext, identity: Identity, settings: S) -> State[Reference]:
        retried = task.with_options(**retry_options(context))
        state: Any = retried(context, identity, settings, return_state=True)
        return cast("State[Reference]", state)  # not a coroutine: no task of ours is async

    return perform


def perform_in_flow(
    function: Callable[[RunContext, Identity, S], State[Reference]],
) -> Callable[[RunContext, Identity, S], State[Reference]]:
    """Return how a mapped stage is performed, which works in the flow itself: with retries too."""

    def perform(context: RunContext, identity: Identity, settings: S) -> State[Reference]:
        call = partial(function, context, identity, settings)
        return try_again_in_flow(context, call, identity.stage)

    return perform
