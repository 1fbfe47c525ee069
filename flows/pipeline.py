"""The flow `owt-pipeline`: from raw text to a model that writes text, stage by stage."""

import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

from prefect import flow, runtime
from prefect.states import Cancelled

from artifacts.identity import Identity, Reference
from flows.asked_device import refuse_missing_device
from flows.config import PipelineConfig, resolve_config
from flows.context import open_run, tracked_settings
from flows.entries import hand_in
from flows.naming import differences, title_of, title_of_settings
from flows.plan import explain_miss, outlook_of
from flows.presets import LEADERBOARD, find_preset
from flows.restarts import refuse_hopeless_restart
from flows.selection import Selection, select_stages
from flows.settings import data_root
from flows.shared_store import refuse_careless_store
from flows.stages import placeholder, stage_rows, walk_stages
from flows.summary import StageEnding, loss_of, summarize
from flows.view.showing import showing_run
from tasks.context import RunContext, store_of
from tasks.corpus.source import Source, with_known_hash
from tasks.corpus.text import with_source
from tasks.download import pin_by_fetching
from tasks.execution.retry import try_again_in_flow
from tasks.stage import S, Stage, code_of, prediction_of
from tasks.tracking.family import join_family
from tasks.watching.events import Outcome, Preparing, RunStarted, StageEnded, StageStarted, emit
from tasks.watching.stopping import RunStopped, result_of, stop_switch


def name_run() -> str:
    """Name a flow run by its preset, the settings laid over it, and the moment it began."""
    began = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    parameters = runtime.flow_run.parameters
    return f"{title_of_settings(parameters['preset'], parameters.get('overrides') or ())} {began}"


@flow(name="owt-pipeline", flow_run_name=name_run, persist_result=False)
def owt_pipeline(
    preset: str = "smoke",
    overrides: list[str] | None = None,
    config: dict[str, Any] | None = None,
    only: str = "",
    start_from: str = "",
    force: list[str] | None = None,
) -> dict[str, Any]:
    """Turn a corpus into a tokenizer, shards, a model, its evaluation and its samples.

    Args:
        preset: Name of a preset in `flows/presets.py`.
        overrides: Settings such as `train_lm.max_steps=100`, laid over the preset last.
        config: Sections and fields, as in a TOML file, laid over the preset first.
        only: Perform this stage alone; what it builds on must be cached.
        start_from: Perform this stage and what follows; what comes before must be cached.
        force: Stages to build again though they are cached.

    Returns:
        A summary as plain JSON: the stages with their artifacts, and what is shown of each.
    """
    refuse_hopeless_restart()
    resolved = resolve_config(find_preset(preset), config, overrides or ())
    selection = select_stages(only=only, start_from=start_from, force=force or ())
    with showing_run(data_root()):
        return perform(resolved, preset, selection)


def perform(config: PipelineConfig, preset: str, selection: Selection) -> dict[str, Any]:
    """Perform the selected stages, and tell the view, MLflow and the caller how they ended."""
    different = differences(config, find_preset(preset))
    title = title_of(preset, different)
    emit(RunStarted(title=title, stages=stage_rows(config, selection.wanted)))
    emit(Preparing(what="opening the run in MLflow"))
    context, tracked = open_run(config, preset, selection, title=title)
    context = replace(context, tracking=replace(context.tracking, parent_name=title))
    try:
        look = partial(Performing, context, selection, config)
        performing = try_again_in_flow(context, look, "the look at the store")
        walk_stages(config, performing)
        sum_up = partial(summarize, performing.endings, context, tracked)
        summary = try_again_in_flow(context, sum_up, "the summary")
        if preset == LEADERBOARD:
            give = partial(hand_in, config, context, performing.endings)
            summary["entry"] = try_again_in_flow(context, give, "the audit bundle")
    except RunStopped as stop:
        tracked.finish("KILLED")
        # Prefect takes a state that a flow returns as the run's own.
        return cast("dict[str, Any]", Cancelled(message=f"stopped {stop}".strip()))
    except BaseException as error:
        tracked.finish("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    tracked.rename(title_of(preset, different, loss_of(summary)))
    tracked.finish("FINISHED")
    is_repeat = all(ending.is_cached for ending in performing.endings)
    join_family(tracked, tracked_settings(config), built_nothing=is_repeat)
    return summary


class Performing:
    """Performs the wanted stages of one run, one after the other, and keeps how each ended."""

    def __init__(self, context: RunContext, selection: Selection, config: PipelineConfig) -> None:
        self.context = context
        self.selection = selection
        store = store_of(context)
        refuse_careless_store(store)
        refuse_missing_device(config, store, selection)
        self.outlook = outlook_of(config, store)
        self.identities: dict[str, Identity] = {}
        self.endings: list[StageEnding] = []

    def pin(self, source: Source) -> Source:
        """Return the source with its content hash; fetches what cannot be known otherwise."""
        with stop_switch().raising():
            known = with_known_hash(source, Path(self.context.root))
        pinned = known if known.sha256 else pin_by_fetching(self.context, source)
        self.outlook = with_source(self.outlook, pinned)
        return pinned

    def visit(
        self, stage: Stage[S], settings: S, label: str = "", **inputs: Reference
    ) -> Reference:
        """Find or build the stage's artifact, unless the stage was not asked for."""
        if stage.name not in self.selection.wanted:
            return placeholder(stage)
        stop_switch().check()
        clock = time.perf_counter()
        identity = stage.identify(settings, **inputs)
        assert identity is not None  # `pin` has found the content of every source
        why = explain_miss(identity, self.outlook, self.identities)
        self.identities[identity.fingerprint] = identity
        name = f"{stage.name} {label}".strip()
        emit(StageStarted(stage=name, if_built=why))
        outcome: Outcome = "failed"
        try:
            state = stage.perform(self._context_of(stage, settings), identity, settings)
            reference = result_of(state)
            outcome = "cached" if state.name == "Cached" else "built"
        except RunStopped as stop:
            outcome = "stopped"
            raise RunStopped(str(stop) or name) from None
        finally:
            seconds = time.perf_counter() - clock
            emit(StageEnded(stage=name, outcome=outcome, seconds=seconds))
        ending = StageEnding(
            stage=stage,
            label=label,
            reference=reference,
            is_cached=outcome == "cached",
            seconds=round(seconds, 2),
        )
        self.endings.append(ending)
        return reference

    def _context_of(self, stage: Stage[S], settings: S) -> RunContext:
        """Add what the stage is expected to take, and by which code it is made, for its record."""
        found = asdict(prediction_of(stage, settings, self.outlook))
        predicted = {name: value for name, value in found.items() if value is not None}
        return replace(self.context, predicted=predicted, source_closure=code_of(stage))
