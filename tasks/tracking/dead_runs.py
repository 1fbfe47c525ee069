"""Runs in MLflow whose process was killed: the next run ends them, as KILLED."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from artifacts.lease.builder_process import BuilderProcess, is_dead, this_process
from tasks.tracking.runs import PARENT_TAG, TrackingTarget

logger = logging.getLogger(__name__)

PROCESS_TAG = "owt.process"
"""Tag of a flow run's MLflow run: the process that it is of."""

FLOW_RUN_TAG = "prefect.flow_run_id"

_MAX_RUNS = 1000


@dataclass(frozen=True, slots=True)
class DeadRun:
    """A flow run whose process is gone."""

    run_id: str
    """Its MLflow run."""

    flow_run_id: str
    """Its Prefect run; "" where it had none."""


def process_tag() -> dict[str, str]:
    """Return the tag by which a later run sees whether this process has died."""
    return {PROCESS_TAG: json.dumps(asdict(this_process()))}


def end_runs_of(
    target: TrackingTarget,
    is_over: Callable[[BuilderProcess], bool] = is_dead,
    *,
    flow_run_id: str = "",
) -> list[DeadRun]:
    """End what dead processes of this machine left as RUNNING, with the runs below it.

    Of a flow run that begins again (`flow_run_id`) the earlier attempts are over on every machine:
    Prefect has one at a time. A failure of MLflow is logged, and ends nothing.
    """
    try:
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=target.uri)
        running = _running(client, target.experiment)
        dead = [
            run
            for run in running
            if _is_of(run.data.tags, is_over)
            or (flow_run_id and run.data.tags.get(FLOW_RUN_TAG) == flow_run_id)
        ]
        ids = {run.info.run_id for run in dead}
        # A run that was stopped while it opened a stage's run has ended, but that one has not.
        alive = {run.info.run_id for run in running} - ids
        below = [run for run in running if run.data.tags.get(PARENT_TAG, "") not in {"", *alive}]
        for run in [*below, *dead]:
            client.set_terminated(run.info.run_id, "KILLED")
    except Exception as error:  # whatever MLflow or its transport raises, the work continues
        logger.warning("MLflow at %s: killed runs stay as they are: %s", target.uri, error)
        return []
    return [DeadRun(run.info.run_id, run.data.tags.get(FLOW_RUN_TAG, "")) for run in dead]


def _running(client: Any, experiment: str) -> list[Any]:
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return []
    return list(
        client.search_runs(
            [found.experiment_id],
            filter_string="attributes.status = 'RUNNING'",
            max_results=_MAX_RUNS,
        )
    )


def _is_of(tags: Mapping[str, str], is_over: Callable[[BuilderProcess], bool]) -> bool:
    try:
        return is_over(BuilderProcess(**json.loads(tags[PROCESS_TAG])))
    except (KeyError, TypeError, ValueError):  # of another program, or of an earlier version
        return False
