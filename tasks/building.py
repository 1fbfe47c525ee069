"""What every stage does around its one library call: look, wait, build, publish, tell.

Prefect's own result cache stays off. A stage whose artifact is there returns the state
`Cached` with a reference, and only such references travel between tasks.
"""

import platform
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from os import getpid

from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed

from artifacts.checking import check, quarantine
from artifacts.identity import Identity, Reference
from artifacts.lease import wait_for_lease
from artifacts.publishing import publish
from artifacts.record import BuildFacts, ExternalFile, JsonObject, Record
from artifacts.staging import Staging, open_staging
from artifacts.store import reference_of
from tasks.context import RunContext, store_of
from tasks.memory import peak_memory, reset_peak_memory


@dataclass(frozen=True, kw_only=True)
class Built:
    """What a build adds to its record, apart from the staged files."""

    statistics: JsonObject
    volatile: tuple[str, ...] = ()
    external_files: tuple[ExternalFile, ...] = ()
    deterministic: bool = True
    mlflow_run_id: str | None = None


def find_artifact(context: RunContext, identity: Identity) -> Record | None:
    """Return the record of a sound artifact; move a damaged or forced one out of the way.

    Raises:
        ValueError: There is none, and this run was asked not to build the stage.
    """
    store = store_of(context)
    found = check(store, identity)
    if found.status == "hit" and identity.stage not in context.force:
        return found.record
    if found.status in ("hit", "stale"):
        reason = found.reason if found.status == "stale" else "forced"
        get_run_logger().warning("%s is set aside and built again: %s", identity.place, reason)
        quarantine(store, identity, reason, expected=found.record)
    if identity.stage in context.required:
        raise ValueError(
            f"no artifact {identity.place} under {context.store_url}; "
            f'run "owt run --only {identity.stage}" first'
        )
    return None


def cached(context: RunContext, record: Record) -> State[Reference]:
    """Return the state that shows as `Cached` in Prefect and hands the reference on."""
    reference = reference_of(store_of(context), record)
    message = f"artifact of {record.started_at} is sound"
    get_run_logger().info("%s: cached, %s", record.stage, reference.uri)
    return Completed(name="Cached", message=message, data=reference)


def build_once(
    context: RunContext,
    identity: Identity,
    build: Callable[[Staging], Built],
    *,
    mapped_since: datetime | None = None,
) -> State[Reference]:
    """Return the stage's artifact: the one that is there, or the one that `build` stages.

    `mapped_since` is when the mapped part of the work began; its flow then holds the lease.
    """
    if (record := find_artifact(context, identity)) is not None:
        return cached(context, record)
    with nullcontext() if mapped_since else sole_builder(context, identity):
        # Another run may have built it while this one waited for the lease.
        found = check(store_of(context), identity)
        if found.status == "hit" and found.record is not None:
            return cached(context, found.record)
        record = _build(context, identity, build, mapped_since or datetime.now(UTC))
    reference = reference_of(store_of(context), record)
    get_run_logger().info("%s: built in %.1f s, %s", identity.stage, record.seconds, reference.uri)
    _show_in_prefect(record, reference)
    return Completed(message=f"built in {record.seconds:.1f} s", data=reference)


@contextmanager
def sole_builder(context: RunContext, identity: Identity) -> Iterator[None]:
    """Hold the lease of one artifact; wait while a living builder holds it."""
    owner = f"{socket.gethostname()}:{getpid()}:{context.flow_run_id}"
    with wait_for_lease(store_of(context), identity, owner=owner):
        yield


def _build(
    context: RunContext,
    identity: Identity,
    build: Callable[[Staging], Built],
    started_at: datetime,
) -> Record:
    reset_peak_memory()
    staging = open_staging(store_of(context), identity)
    built = build(staging)
    run_ids = {"prefect": context.flow_run_id, "mlflow": built.mlflow_run_id}
    facts = BuildFacts(
        external_files=built.external_files,
        volatile=built.volatile,
        statistics=built.statistics,
        labels=dict(context.labels),
        code_version=context.code_version,
        environment=describe_environment(),
        started_at=started_at.isoformat(timespec="seconds"),
        seconds=round((datetime.now(UTC) - started_at).total_seconds(), 3),
        peak_rss_bytes=peak_memory(),
        deterministic=built.deterministic,
        run_ids={tracker: run_id for tracker, run_id in run_ids.items() if run_id},
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
