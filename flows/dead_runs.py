"""Killed runs are ended where they are shown, at the start of the next one or by the dying one."""

import logging
from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed

from artifacts.lease.builder_process import this_process
from tasks.tracking.dead_runs import DeadRun, end_runs_of
from tasks.tracking.runs import TrackingTarget

logger = logging.getLogger(__name__)


def end_killed_runs(target: TrackingTarget) -> list[str]:
    """End killed runs in MLflow and in Prefect; return the ids of their MLflow runs."""
    this_flow_run = str(runtime.flow_run.id or "")
    dead = end_runs_of(target, flow_run_id=this_flow_run)
    # A run that was killed and given back to its pool is this run: it is alive again.
    others = [run for run in dead if run.flow_run_id != this_flow_run]
    _end_in_prefect(others, Crashed(message="Its process was killed; a later run noticed it."))
    for run in dead:
        logger.info("run %s was killed; this run takes over what it had stored", run.run_id)
    return [run.run_id for run in dead]


def end_own_runs(target: TrackingTarget) -> None:
    """End the runs of this process, which is about to leave without a word."""
    own = end_runs_of(target, this_process().__eq__)
    _end_in_prefect(own, Cancelled(message="Stopped at once."))


def _end_in_prefect(runs: list[DeadRun], state: State) -> None:
    flow_run_ids = [UUID(run.flow_run_id) for run in runs if run.flow_run_id]
    if not flow_run_ids:
        return
    with get_client(sync_client=True) as client:
        for flow_run_id in flow_run_ids:
            try:
                found = client.read_flow_run(flow_run_id).state
                if found is None or not found.is_final():
                    client.set_flow_run_state(flow_run_id, state, force=True)
                    _end_task_runs(client, flow_run_id, state)
            except (ObjectNotFound, ValueError):  # of another server
                continue


def _end_task_runs(client: SyncPrefectClient, flow_run_id: UUID, state: State) -> None:
    ours = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    for run in client.read_task_runs(flow_run_filter=ours):
        if run.state is None or not run.state.is_final():
            client.set_task_run_state(run.id, state, force=True)
