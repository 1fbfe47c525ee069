"""The loop of a training run: step, report, validate, save.

What is done at a step follows from the state at that step, so it does not matter whether the
step was computed or loaded from a checkpoint.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from lm.checkpoint.folder import CheckpointWriter
from lm.checkpoint.weights import save_model
from lm.config import RunOptions
from lm.machine.distributed import Processes, agree, any_process
from lm.model.transformer import plain_state_dict
from lm.training.metrics_log import Metrics, MetricsLog
from lm.training.report import perf_metrics, spike_metrics, train_metrics, valid_metrics
from lm.training.run import TrainingRun, snapshot
from lm.training.state import TrainState
from lm.training.step import roll_back, take_step
from lm.training.validation import sampled_loss

OnMetrics = Callable[[int, Metrics], None]
OnCheckpoint = Callable[[int, Path], None]
OnProgress = Callable[[int, int], None]
StopRequested = Callable[[], bool]


class TrainingStoppedError(Exception):
    """The caller asked to stop; the run is saved and can be gone on with, or a note says why."""


@dataclass(frozen=True, kw_only=True)
class Callbacks:
    """What the caller wants to hear of."""

    on_metrics: OnMetrics | None = None
    on_checkpoint: OnCheckpoint | None = None
    on_progress: OnProgress | None = None


@dataclass(kw_only=True)
class Outputs:
    """Where the first process reports and saves; the others hold no writer and no logs."""

    folder: Path
    options: RunOptions
    callbacks: Callbacks
    writer: CheckpointWriter | None = None
    metrics: MetricsLog | None = None
    timings: MetricsLog | None = None
    saved: TrainState | None = None
    """State in the newest checkpoint."""
    saved_at: float = field(default_factory=time.perf_counter)

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.folder / "checkpoints"


def open_outputs(
    folder: Path,
    options: RunOptions,
    processes: Processes,
    *,
    metrics_text: str | None = None,
    callbacks: Callbacks | None = None,
) -> Outputs:
    """Open logs and writer of the first process; `metrics_text` is None for a fresh run."""
    outputs = Outputs(folder=folder, options=options, callbacks=callbacks or Callbacks())
    if processes.is_first:
        folder.mkdir(parents=True, exist_ok=True)
        timings_text = None if metrics_text is None else ""
        outputs.metrics = MetricsLog(folder / "metrics.jsonl", text_before=metrics_text)
        outputs.timings = MetricsLog(folder / "timings.jsonl", text_before=timings_text)
        outputs.writer = CheckpointWriter(
            outputs.checkpoints,
            keep=options.keep_checkpoints,
            on_checkpoint=outputs.callbacks.on_checkpoint,
        )
    return outputs


def run_to_the_end(
    run: TrainingRun, outputs: Outputs, *, stop_requested: StopRequested | None = None
) -> None:
    """Train until the run is over and publish its weights; save on any exception."""
    try:
        _loop(run, outputs, stop_requested)
        _save(run, outputs)
        if run.processes.is_first:
            weights = plain_state_dict(run.published_model.state_dict())
            save_model(outputs.folder, weights, run.model_config)
    except BaseException as error:
        _save_on_the_way_out(run, outputs, error)
        raise
    finally:
        for resource in (outputs.writer, outputs.metrics, outputs.timings):
            if resource is not None:
                resource.close()


def _loop(run: TrainingRun, outputs: Outputs, stop_requested: StopRequested | None) -> None:
    while True:
        if run.state.skipped_in_a_row >= run.train_config.max_spikes and not run.state.diverged:
            if outputs.writer is not None:
                outputs.writer.wait()
            roll_back(run, outputs.checkpoints)
        is_over = _is_over(run)
        _report(run, outputs)
        if _validation_is_due(run, is_over):
            _validate(run, outputs)
        if _drop_anchor(run) or _checkpoint_is_due(run, outputs):
            _save(run, outputs)
        if is_over:
            return
        _stop_if_requested(run, stop_requested)
        take_step(run)


def _stop_if_requested(run: TrainingRun, stop_requested: StopRequested | None) -> None:
    """Leave together: a process that left alone would break the next sum of the others."""
    wanted = stop_requested is not None and stop_requested()
    if any_process(wanted, run.processes, run.device):
        raise TrainingStoppedError(f"stopped on request after step {run.state.step}")


def _is_over(run: TrainingRun) -> bool:
    config, state = run.train_config, run.state
    if state.diverged or state.step >= config.max_steps:
        return True
    if not config.max_minutes:
        return False
    return agree(run.clock.share(), run.processes, run.device) >= 1.0


def _report(run: TrainingRun, outputs: Outputs) -> None:
    state, config = run.state, run.train_config
    if outputs.metrics is None or outputs.timings is None:
        return
    if state.skipped_in_a_row or state.rolled_back_at == state.step:
        _write(outputs, outputs.metrics, state.step, spike_metrics(run))
    elif state.step and (state.step % config.log_interval == 0):
        _write(outputs, outputs.metrics, state.step, train_metrics(run))
    if run.stopwatch.num_steps and state.step % config.log_interval == 0:
        _write(outputs, outputs.timings, state.step, perf_metrics(run))
        run.stopwatch.reset()
    if outputs.callbacks.on_progress is not None:
        share = run.clock.share()
        total = round(state.step / share) if share else config.max_steps
        outputs.callbacks.on_progress(state.step, max(total, state.step))


def _write(outputs: Outputs, log: MetricsLog, step: int, metrics: Metrics) -> None:
    on_metrics = outputs.callbacks.on_metrics
    if log.write(step, metrics) and on_metrics is not None:
        on_metrics(step, metrics)


def _validation_is_due(run: TrainingRun, is_over: bool) -> bool:
    config, state = run.train_config, run.state
    if state.validated_step == state.step:
        return False
    # with a clock the first one is before the first step, to know how long the last will take
    is_at_interval = (state.step > 0 or config.max_minutes > 0) and (
        config.valid_interval > 0 and state.step % config.valid_interval == 0
    )
    return is_over or is_at_interval or (config.max_minutes > 0 and state.validated_step < 0)


def _validate(run: TrainingRun, outputs: Outputs) -> None:
    started = time.perf_counter()
    loss, num_tokens = sampled_loss(
        run.published_model,
        run.valid_shards,
        run.train_config,
        micro_batch_size=run.plan.micro_batch_size,
        fast=run.plan.fast,
        processes=run.processes,
    )
    run.clock.validation_s = time.perf_counter() - started
    best = run.state.best_valid_loss
    state = replace(run.state, validated_step=run.state.step, valid_loss=loss)
    if best is None or loss < best:
        state = replace(state, best_step=state.step, best_valid_loss=loss)
    run.state = state
    if outputs.metrics is not None:
        _write(outputs, outputs.metrics, state.step, valid_metrics(run, num_tokens))


def _drop_anchor(run: TrainingRun) -> bool:
    """Make this step the one to which spikes lead back, if it is time; tell whether it is new."""
    state = run.state
    if (
        state.step % run.anchor_interval
        or state.skipped_in_a_row
        or state.anchor_step == state.step
    ):
        return False
    run.state = replace(state, anchor_step=state.step)
    return True


def _checkpoint_is_due(run: TrainingRun, outputs: Outputs) -> bool:
    state, options = run.state, outputs.options
    if outputs.writer is None:
        return False
    if state.best_step == state.step:
        return True
    if options.checkpoint_steps and state.step % options.checkpoint_steps == 0:
        return True
    seconds = time.perf_counter() - outputs.saved_at
    is_time = 0 < 60.0 * options.checkpoint_minutes <= seconds
    return is_time and not outputs.writer.busy


def _save(run: TrainingRun, outputs: Outputs) -> None:
    if outputs.writer is None or outputs.metrics is None or outputs.saved is run.state:
        return
    checkpoint = snapshot(run, metrics_text=outputs.metrics.flush_to_disk())
    pinned = frozenset({run.state.anchor_step, run.state.best_step})
    outputs.writer.write(checkpoint, pinned=pinned)
    outputs.saved, outputs.saved_at = run.state, time.perf_counter()


def _save_on_the_way_out(run: TrainingRun, outputs: Outputs, error: BaseException) -> None:
    """Save what can be resumed exactly: nothing if an update was interrupted half-way."""
    if not run.is_whole:
        error.add_note("interrupted inside an update: resumes from the checkpoint before")
        return
    try:
        _save(run, outputs)
    except Exception as save_error:
        error.add_note(f"no checkpoint could be saved on the way out: {save_error!r}")
