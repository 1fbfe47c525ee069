"""Killed runs are ended where they are shown, at the start of the next one."""

import logging
from collections.abc import Sequence
from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from tasks.dead_runs import DeadRun, end_dead_runs
from tasks.tracking import TrackingTarget

logger = logging.getLogger(__name__)


def end_killed_runs(target: TrackingTarget) -> list[str]:
    """End killed runs in MLflow and in Prefect; return the ids of their MLflow runs."""
    dead = end_dead_runs(target)
    if dead:
        _mark_crashed(dead)
    for run in dead:
        logger.info("run %s was killed; this run takes over what it had stored", run.run_id)
    return [run.run_id for run in dead]


def _mark_crashed(dead: Sequence[DeadRun]) -> None:
    with get_client(sync_client=True) as client:
        for run in dead:
            # A run that was killed and given back to its pool is this run: it is alive again.
            if run.flow_run_id in ("", str(runtime.flow_run.id or "")):
                continue
            try:
                state = client.read_flow_run(UUID(run.flow_run_id)).state
                if state is None or not state.is_final():
                    message = "Its process was killed; a later run noticed it."
                    client.set_flow_run_state(
                        UUID(run.flow_run_id), Crashed(message=message), force=True
                    )
            except (ObjectNotFound, ValueError):  # of another server
                continue
