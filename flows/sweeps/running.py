"""Trials are found, or trained one after the other or side by side; one that fails stops none."""

import math
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger

from artifacts.identity import Identity
from artifacts.published.checking import check
from artifacts.store import Store
from flows.pipeline import Performing
from flows.selection import Selection
from flows.stages import EVALUATION, MODEL, stage_ancestors, walk_stages
from flows.sweeps.training import track_found, train_trial
from flows.sweeps.trials import PlannedTrial
from flows.sweeps.walk import identify_trial, shards_of
from tasks.context import RunContext
from tasks.experiments.sweep_results import Trial
from tasks.experiments.trial_files import (
    TrialFiles,
    failed_trial,
    keep,
    read_kept,
    read_stored,
    trial_of,
)
from tasks.sweep import TrialInputs
from tasks.watching.events import StageEnded, StageStarted, emit
from tasks.watching.stopping import RunStopped, result_of, stop_switch


@dataclass(kw_only=True)
class Trials:
    """The trials of one sweep run, and what they are looked up in."""

    store: Store
    root: Path
    kept: Path | None = None
    """Folder of trials without weights, read before the store and added to."""
    inputs: dict[str, TrialInputs] = field(default_factory=dict)
    """The artifacts of each trial that was found or made, by its label."""

    def find(self, planned: PlannedTrial) -> TrialFiles | None:
        """Return a trial that was made before, here or elsewhere."""
        identities = identify_trial(planned.config, self.store, self.root)
        if len(identities) < 2:
            return None
        model, evaluation = identities[MODEL], identities[EVALUATION]
        files = read_kept(self.kept, model, evaluation) if self.kept else None
        if files is None and all(self._is_there(item) for item in (model, evaluation)):
            url = self.store.url
            files = read_stored(self.store, model.reference(url), evaluation.reference(url))
        return files

    def _is_there(self, identity: Identity) -> bool:
        return check(self.store, identity).status == "hit"

    def accept(self, planned: PlannedTrial, files: TrialFiles) -> Trial:
        """Return a trial from its files; its artifacts are inputs of the sweep."""
        if self.kept:
            keep(self.kept, files)
        url = self.store.url
        self.inputs[planned.name.label] = TrialInputs(
            model=files.model.identity.reference(url),
            evaluation=files.evaluation.identity.reference(url),
        )
        return trial_of(files, planned.name)


@dataclass(kw_only=True)
class Running:
    """Performs the trials of a sweep within a flow."""

    trials: Trials
    context: RunContext
    parallel: int = 1
    deadline: float = math.inf
    """`time.monotonic()` after which no trial is begun."""
    num_left_out: int = 0
    num_trained: int = 0
    prepared: set[frozenset[str]] = field(default_factory=set)
    """Token shards that this run has found or made."""

    def perform(self, planned: Sequence[PlannedTrial]) -> list[Trial]:
        """Return the trials in their order, without those that the budget left out.

        Raises:
            RunStopped: The run was asked to stop; what is trained is in the store.
        """
        done: dict[str, Trial] = {}
        waiting: list[PlannedTrial] = []
        for trial in planned:
            label = trial.name.label
            files = self.trials.find(trial)
            if files is None:
                waiting.append(trial)
                continue
            done[label] = self.trials.accept(trial, files)
            track_found(self.context, done[label])
            emit(StageStarted(stage=label))
            emit(StageEnded(stage=label, outcome="cached", seconds=0.0))
        done |= self._train_in_turn(waiting) if self.parallel == 1 else self._train_many(waiting)
        return [done[trial.name.label] for trial in planned if trial.name.label in done]

    def _train_in_turn(self, waiting: Sequence[PlannedTrial]) -> dict[str, Trial]:
        """Train in this thread, so that Ctrl-C saves a checkpoint as in any run."""
        done = {}
        for planned in self._in_time(waiting):
            began = time.monotonic()
            emit(StageStarted(stage=planned.name.label))
            state: Any = train_trial(self.context, planned, return_state=True)
            done[planned.name.label] = self._outcome(planned, state, began)
        return done

    def _train_many(self, waiting: Sequence[PlannedTrial]) -> dict[str, Trial]:
        """Hand the trials to the flow's task runner, `parallel` at a time."""
        done: dict[str, Trial] = {}
        running: deque[tuple[PlannedTrial, PrefectFuture[None], float]] = deque()

        def finish_oldest() -> None:
            planned, future, began = running.popleft()
            future.wait()
            done[planned.name.label] = self._outcome(planned, future.state, began)

        context = _share_of_the_machine(self.context, self.parallel)
        for planned in self._in_time(waiting):
            running.append((planned, train_trial.submit(context, planned), time.monotonic()))
            if len(running) == self.parallel:
                finish_oldest()
        while running:
            finish_oldest()
        return done

    def _in_time(self, waiting: Sequence[PlannedTrial]) -> Iterator[PlannedTrial]:
        """Yield the trials, their shards prepared, until the budget is spent."""
        for number, planned in enumerate(waiting):
            stop_switch().check()
            if time.monotonic() > self.deadline:
                self.num_left_out += len(waiting) - number
                return
            self._prepare(planned)
            yield planned

    def _prepare(self, planned: PlannedTrial) -> None:
        """Find or make what comes before the training, once for each tokenizer and text."""
        identities = identify_trial(planned.config, self.trials.store, self.trials.root)
        if identities and shards_of(identities) in self.prepared:
            return
        shared = frozenset(stage_ancestors()[MODEL])
        selection = Selection(wanted=shared, required=(), force=())
        walk_stages(planned.config, Performing(self.context, selection, planned.config))
        identities = identify_trial(planned.config, self.trials.store, self.trials.root)
        self.prepared.add(shards_of(identities))

    def _outcome(self, planned: PlannedTrial, state: Any, began: float) -> Trial:
        """Return the trial that a task made, or that failed."""
        label, seconds = planned.name.label, time.monotonic() - began
        try:
            result_of(state)
        except RunStopped:
            emit(StageEnded(stage=label, outcome="stopped", seconds=seconds))
            raise
        except Exception as error:  # whatever it was, the other trials are worth training
            stop_switch().check()  # Ctrl-C also ends the processes of trials side by side
            emit(StageEnded(stage=label, outcome="failed", seconds=seconds))
            failure = " ".join(str(error).split()) or type(error).__name__
            get_run_logger().warning("trial %s failed: %s", label, failure)
            return failed_trial(planned.name, failure)
        files = self.trials.find(planned)
        assert files is not None  # the task has just published them
        self.num_trained += 1
        emit(StageEnded(stage=label, outcome="built", seconds=seconds))
        return self.trials.accept(planned, files)


def _share_of_the_machine(context: RunContext, parallel: int) -> RunContext:
    """Give each of several trainings its share of the cores, unless the user said how many."""
    options = context.options
    if options.num_threads == 0:
        threads = max(1, (os.cpu_count() or 1) // parallel)
        options = replace(options, num_threads=threads)
    return replace(context, options=options)
