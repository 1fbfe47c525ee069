"""The task that trains and evaluates one trial, and how a trial shows in the view and in MLflow."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.states import Cancelled

from flows.logs import quiet_engines
from flows.stages import EVALUATION, MODEL
from flows.sweeps.trials import PlannedTrial
from flows.sweeps.walk import train_and_evaluate
from tasks.context import RunContext, store_of
from tasks.experiments.sweep_results import Trial
from tasks.experiments.trial_files import read_stored, trial_of
from tasks.sweep import track_trial
from tasks.tracking.runs import stage_run
from tasks.watching.events import Event, StageEnded, StageStarted, observed_by, observer_of_run
from tasks.watching.stopping import RunStopped


@task(
    name="trial",
    task_run_name="{planned.name.label}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def train_trial(context: RunContext, planned: PlannedTrial) -> None:
    """Train and evaluate one trial; the state is `Cancelled` where the run was asked to stop."""
    try:
        with _as_one_row():
            _train_and_track(context, planned)
    except RunStopped as stop:
        # Prefect takes a state that a task returns as the task's own.
        return cast("None", Cancelled(message=f"stopped {stop}".strip()))


def _train_and_track(context: RunContext, planned: PlannedTrial) -> None:
    """Work under a run of the trial's own in MLflow."""
    params = {**planned.name.overrides, "seed": planned.name.seed}
    with stage_run(context.tracking, planned.name.label, params=params, tags={}) as run:
        label = planned.name.label
        tracking = replace(context.tracking, parent_run_id=run.run_id, parent_name=label)
        made = train_and_evaluate(planned.config, replace(context, tracking=tracking))
        files = read_stored(store_of(context), made[MODEL], made[EVALUATION])
        track_trial(run, trial_of(files, planned.name))


@contextmanager
def _as_one_row() -> Iterator[None]:
    """Let the view show the body as one row: what its stages tell, but not that they begin."""
    observer = observer_of_run()
    if observer is None:  # in a process of its own, whose parent shows the trial
        with quiet_engines():
            yield
        return

    def forward(event: Event) -> None:
        if not isinstance(event, StageStarted | StageEnded):
            observer(event)

    with observed_by(forward):
        yield


def track_found(context: RunContext, trial: Trial) -> None:
    """Show a trial that was made before beside the new ones."""
    params = {**trial.overrides, "seed": trial.seed}
    with stage_run(context.tracking, trial.label, params=params, tags={}) as run:
        track_trial(run, trial)
