"""The flow `owt-sweep`: the trials of one sweep over the cached pipeline, and what they say."""

import math
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from prefect import Flow, flow, runtime
from prefect.context import FlowRunContext
from prefect.states import Cancelled
from prefect.task_runners import ProcessPoolTaskRunner

from artifacts.identity import Reference
from flows.config import PipelineConfig, recipe_of, resolve_config
from flows.context import open_run, tracked_settings
from flows.naming import differences, title_of
from flows.presets import find_preset
from flows.restarts import refuse_hopeless_restart
from flows.selection import select_stages
from flows.settings import data_root
from flows.sweeps.design import Design, Wishes
from flows.sweeps.designs import find_design
from flows.sweeps.effects import refuse_arms_without_effect
from flows.sweeps.outlook import open_trials
from flows.sweeps.results import SweepFacts, sweep_result
from flows.sweeps.running import Running
from flows.sweeps.trials import perform_design
from flows.view.showing import showing_run
from tasks.context import retry_options
from tasks.experiments.sweep_results import SweepResult
from tasks.sweep import publish_sweep, sweep_identity
from tasks.tracking.family import family_tag, join_family
from tasks.tracking.runs import TrackedRun
from tasks.watching.events import RunStarted, emit
from tasks.watching.stopping import RunStopped, result_of


def name_sweep() -> str:
    """Name a flow run by its kind of sweep, its preset and the moment it began."""
    began = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    given = runtime.flow_run.parameters
    return f"{given['kind']} {given['preset']} {began}"


@flow(name="owt-sweep", flow_run_name=name_sweep, persist_result=False)
def owt_sweep(
    kind: str,
    preset: str = "smoke",
    overrides: list[str] | None = None,
    config: dict[str, Any] | None = None,
    grid: dict[str, list[Any]] | None = None,
    arms: list[str] | None = None,
    seeds: int = 0,
    rates: int = 3,
    hold: str = "tokens",
    budget_minutes: float = 0.0,
    parallel: int = 1,
    kept: str = "",
    command: str = "",
) -> dict[str, Any]:
    """Train the trials of a sweep that are not there yet, and publish what all of them say.

    Args:
        kind: Name of a sweep in `flows/sweeps/designs.py`.
        preset: Name of a preset in `flows/presets.py`.
        overrides: Settings such as `train_lm.max_steps=100`, laid over the preset last.
        config: Sections and fields, as in a TOML file, laid over the preset first.
        grid: Values by `section.field`, instead of the usual ones of the sweep.
        arms: Names of the variants that are compared with the baseline; none: all.
        seeds: Seeds of each arm; 0: what the kind of sweep takes.
        rates: Rates at which each side of a comparison is tuned.
        hold: What a batch-size sweep holds equal: tokens or steps.
        budget_minutes: Minutes after which no trial is begun; 0: no limit.
        parallel: Trials trained at a time.
        kept: Folder of finished trials without weights, read and added to; "": none.
        command: The command that repeats the sweep, for the result.

    Returns:
        The result as plain JSON, with the place of its artifact.
    """
    refuse_hopeless_restart()
    refuse_threads(parallel)
    base = resolve_config(find_preset(preset), config, overrides or ())
    wishes = Wishes(num_seeds=seeds, grid=grid or {}, arms=arms or (), num_rates=rates, hold=hold)
    design = find_design(kind, base, wishes)
    refuse_arms_without_effect(design, base)
    with showing_run(data_root()):
        title = title_of(f"{kind} {preset}", differences(base, find_preset(preset)))
        emit(RunStarted(title=title, stages=()))
        context, tracked = open_run(base, preset, select_stages(), title=title)
        settings = {"sweep": asdict(design), **tracked_settings(base)}
        tracked.set_tags(family_tag(settings))  # no family of the runs of the base alone
        running = Running(
            trials=open_trials(context.store_url, Path(context.root), kept),
            context=context,
            parallel=parallel,
            deadline=time.monotonic() + 60 * budget_minutes if budget_minutes else math.inf,
        )
        facts = SweepFacts(
            preset=preset, corpus=base.corpus.name, command=command, settings=recipe_of(base)
        )
        summary = _perform(design, base, running, facts, tracked)
        if tracked.run_id and isinstance(summary, dict):
            join_family(tracked, settings, built_nothing=running.num_trained == 0)
        return summary


def _perform(
    design: Design,
    base: PipelineConfig,
    running: Running,
    facts: SweepFacts,
    tracked: TrackedRun,
) -> dict[str, Any]:
    """Perform the trials, publish what they say, and tell MLflow how it ended."""
    try:
        trials = perform_design(design, base, running.perform)
        result = sweep_result(design, trials, facts, num_left_out=running.num_left_out)
        reference = _publish(running, result)
    except RunStopped as stop:
        tracked.finish("KILLED")
        # Prefect takes a state that a flow returns as the run's own.
        return cast("dict[str, Any]", Cancelled(message=f"stopped {stop}".strip()))
    except BaseException as error:
        tracked.finish("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    tracked.set_tags({"sweep": design.kind, "artifact.sweep": reference.uri})
    tracked.finish("FINISHED")
    return {**asdict(result), "artifact": reference.to_json(), "num_left_out": running.num_left_out}


def sweep_flow(parallel: int) -> Flow[..., dict[str, Any]]:
    """Return the flow with a task runner for so many trials at a time, each in its own process.

    Processes and not threads: torch's number of threads and its determinism are of a process.
    """
    if parallel < 1:
        raise ValueError(f"parallel ({parallel}) must be at least 1")
    if parallel == 1:
        return owt_sweep
    runner: Any = ProcessPoolTaskRunner(max_workers=parallel)  # its type is narrower than wanted
    return owt_sweep.with_options(task_runner=runner)


def refuse_threads(parallel: int) -> None:
    """Raise `ValueError` where trials side by side would share a process, as in a deployment."""
    run = FlowRunContext.get()
    has_processes = run is not None and isinstance(run.task_runner, ProcessPoolTaskRunner)
    if parallel > 1 and not has_processes:
        raise ValueError(
            f"parallel ({parallel}) must be 1 here, as trials side by side need a process each; "
            f'start "owt sweep --parallel {parallel}" on a machine instead'
        )


def _publish(running: Running, result: SweepResult) -> Reference:
    """Publish the result; it is made from the artifacts of the trials that did not fail."""
    known = running.trials.inputs
    inputs = [known[trial.label] for trial in result.trials if trial.label in known]
    if not inputs:
        failures = [trial.failure for trial in result.trials]
        raise RuntimeError(f"no trial ended: {failures[0] if failures else 'the budget is spent'}")
    identity = sweep_identity(result, inputs)
    publish = publish_sweep.with_options(**retry_options(running.context))
    state: Any = publish(running.context, identity, result, return_state=True)
    reference: Reference = result_of(state)
    return reference
