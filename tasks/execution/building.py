"""What every stage does around its one library call: look, wait, build, publish, tell.

Prefect's own result cache stays off. A stage whose artifact is there returns the state
`Cached` with a reference, and only such references travel between tasks.
"""

import platform
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from os import getpid

from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed

from artifacts.building.handover import take_over
from artifacts.building.publishing import publish
from artifacts.building.staging import Staging
from artifacts.housekeeping.notes import mark_used, note_needs
from artifacts.identity import Identity, Reference
from artifacts.lease.lease import Lease, lease_of
from artifacts.lease.waiting import wait_for_lease
from artifacts.published.checking import check, quarantine
from artifacts.record import BuildFacts, ExternalFile, JsonObject, Record
from artifacts.store import reference_of
from tasks.context import RunContext, store_of
from tasks.execution.memory import peak_memory, reset_peak_memory
from tasks.stage import why_refused
from tasks.watching.events import StageMissed, emit
from tasks.watching.stopping import stop_switch, unless_stopped


@dataclass(frozen=True, kw_only=True)
class Built:
    """What a build adds to its record, apart from the staged files."""

    statistics: JsonObject
    seconds_before: float = 0.0
    """Seconds of earlier attempts, whose work this one resumed."""
    volatile: tuple[str, ...] = ()
    external_files: tuple[ExternalFile, ...] = ()
    deterministic: bool = True
    mlflow_run_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """The mapped part of a stage's work; plain data that travels between tasks."""

    since: datetime
    attempt: str
    """Name of the flow's hold of the lease."""


class NotBuiltError(ValueError):
    """An artifact is missing that this run was asked not to build; its caller knows the way out."""


def find_artifact(context: RunContext, identity: Identity) -> Record | None:
    """Return the record of a sound artifact; move a damaged or forced one out of the way.

    Raises:
        NotBuiltError: There is none, and this run was asked not to build the stage.
    """
    store = store_of(context)
    found = check(store, identity)
    refused = why_refused(found.record, context.options) if found.record else ""
    if found.status == "hit" and not refused and identity.stage not in context.force:
        return found.record
    reason = ""
    if found.status in ("hit", "stale"):
        reason = found.reason if found.status == "stale" else refused or "forced"
        get_run_logger().warning("%s is set aside and built again: %s", identity.place, reason)
        quarantine(store, identity, reason, expected=found.record)
    if identity.stage in context.required:
        raise NotBuiltError(
            f"no artifact {identity.place} under {context.store_url}, and this run was asked not "
            f"to build {identity.stage}; run all stages"
        )
    emit(StageMissed(reason=reason))
    return None


def cached(context: RunContext, record: Record) -> State[Reference]:
    """Return the state that shows as `Cached` in Prefect and hands the reference on."""
    reference = reference_of(store_of(context), record)
    mark_used(store_of(context), record)
    message = f"artifact of {record.started_at} is sound"
    get_run_logger().info("%s: cached, %s", record.stage, reference.uri)
    return Completed(name="Cached", message=message, data=reference)


def build_once(
    context: RunContext,
    identity: Identity,
    build: Callable[[Staging], Built],
    *,
    mapped: Mapped | None = None,
    work: Sequence[str] = (),
) -> State[Reference]:
    """Return the stage's artifact: the one that is there, or the one that `build` stages.

    Args:
        context: Facts of this run.
        identity: The artifact.
        build: Stages the files.
        mapped: The mapped part of the work, which came before; its flow holds the lease.
        work: Patterns of unfinished files that a run after a crash can use.
    """
    if (record := find_artifact(context, identity)) is not None:
        return cached(context, record)

    def find_or_build() -> Record | State[Reference]:
        store = store_of(context)
        hold = nullcontext(lease_of(store, identity, mapped.attempt)) if mapped else None
        with hold or sole_builder(context, identity) as lease:
            # Another run may have built it while this one waited for the lease.
            found = check(store, identity)
            if found.status == "hit" and found.record is not None:
                return cached(context, found.record)
            started_at = mapped.since if mapped else datetime.now(UTC)
            staging = take_over(lease, work=work)
            return _build(context, identity, staging, build, started_at)

    built = unless_stopped(find_or_build)
    if isinstance(built, State):  # cached meanwhile, or stopped
        return built
    return _tell(context, built)


def _tell(context: RunContext, record: Record) -> State[Reference]:
    """Return the state of a stage that was built, and show it in Prefect."""
    reference = reference_of(store_of(context), record)
    get_run_logger().info("%s: built in %.1f s, %s", record.stage, record.seconds, reference.uri)
    _show_in_prefect(record, reference)
    return Completed(message=f"built in {record.seconds:.1f} s", data=reference)


@contextmanager
def sole_builder(context: RunContext, identity: Identity) -> Iterator[Lease]:
    """Hold the lease of one artifact; wait while a living builder holds it.

    Raises:
        LeaseLostError: This run gave no sign of life for so long that another one took over.
    """
    owner = f"{socket.gethostname()}:{getpid()}:{context.flow_run_id}"
    with ExitStack() as stack:
        with stop_switch().raising():
            wait = wait_for_lease(store_of(context), identity, owner=owner)
            lease = stack.enter_context(wait)
        note_needs(lease.store, identity, identity.inputs.values())
        yield lease


def _build(
    context: RunContext,
    identity: Identity,
    staging: Staging,
    build: Callable[[Staging], Built],
    started_at: datetime,
) -> Record:
    reset_peak_memory()
    built = build(staging)
    seconds = built.seconds_before + (datetime.now(UTC) - started_at).total_seconds()
    run_ids = {"prefect": context.flow_run_id, "mlflow": built.mlflow_run_id}
    facts = BuildFacts(
        external_files=built.external_files,
        volatile=built.volatile,
        statistics=built.statistics,
        labels=dict(context.labels),
        code_version=context.code_version,
        environment=describe_environment(),
        started_at=started_at.isoformat(timespec="seconds"),
        seconds=round(seconds, 3),
        peak_rss_bytes=peak_memory(),
        deterministic=built.deterministic,
        run_ids={tracker: run_id for tracker, run_id in run_ids.items() if run_id},
        predicted=dict(context.predicted),
        source_closure=context.source_closure,
    )
    return publish(staging, identity, facts)


def describe_environment() -> JsonObject:
    """Return where the work was done: machine, Python, and the libraries that make numbers."""
    from importlib.metadata import version

    libraries = ("torch", "numpy", "numba", "regex", "pyarrow")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        **{name: version(name) for name in libraries},
    }


def _show_in_prefect(record: Record, reference: Reference) -> None:
    """Put what was built on the run's page: parameters, facts, place."""
    rows = [*record.config.items(), *record.statistics.items()]
    table = "\n".join(f"| {name} | `{str(value)[:200]}` |" for name, value in rows)
    create_markdown_artifact(
        key=record.stage.replace("_", "-"),
        description=record.place,
        markdown=f"`{reference.uri}`\n\n| | |\n|---|---|\n{table}\n",
    )
