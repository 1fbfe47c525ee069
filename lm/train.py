"""The training loop: steps, metrics, validation, checkpoints, exact resumption.

A run is a folder. Called again with the same arguments after any interruption, `train` goes on
from the newest intact checkpoint and ends with the same files, bit for bit on one CPU type with
one thread count. Everything that the loop does at a step (report, validate, save) follows from
the state at that step, so it does not matter whether the step was computed or loaded.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lm.checkpoint import plain_state_dict, save_model
from lm.checkpoint_folder import CheckpointWriter, newest_intact
from lm.config import ModelConfig, RunOptions, TrainConfig
from lm.distributed import Processes, agree, current_processes, wait_for_all
from lm.metrics_log import Metrics, MetricsLog
from lm.probe import choose_plan
from lm.resume import check_same_config, config_facts, take_over_plan
from lm.train_report import (
    perf_metrics,
    spike_metrics,
    tokens_per_step,
    train_metrics,
    valid_metrics,
)
from lm.train_state import TrainState
from lm.training_run import TrainingRun, build_run, open_splits, restore, snapshot
from lm.training_step import roll_back, take_step
from lm.validation import sampled_loss

logger = logging.getLogger(__name__)

ANCHOR_INTERVAL = 512
"""Steps between the checkpoints to which spikes lead back: four windows of `lm/spikes.py`. They
are at fixed steps, unlike those by the clock, so that a resumed run rolls back alike."""

OnMetrics = Callable[[int, Metrics], None]
OnCheckpoint = Callable[[int, Path], None]
OnProgress = Callable[[int, int], None]
OnFirstBatch = Callable[[list[list[int]]], None]


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """How a run ended."""

    step: int
    tokens_seen: int
    train_loss: float | None
    """Loss of the last step in nats a token; None if it was not finite."""
    valid_loss: float | None
    """Loss of the last sampled validation."""
    diverged: bool
    """Whether training was given up after spikes; the weights are the last good ones."""
    deterministic: bool
    """Whether the same arguments on the same machine give the same bytes; not with a clock."""
    num_skipped: int
    """Steps skipped as spikes."""
    seconds: float
    """Seconds of the run over all resumptions, start-up excluded."""
    environment: dict[str, Any]
    """What the run chose on this machine, and the versions it ran on."""


@dataclass(kw_only=True)
class _Outputs:
    """Where the first process reports and saves; the others hold no writer and no logs."""

    folder: Path
    options: RunOptions
    writer: CheckpointWriter | None
    metrics: MetricsLog | None
    timings: MetricsLog | None
    on_metrics: OnMetrics | None
    on_progress: OnProgress | None
    saved: TrainState | None = None
    saved_at: float = 0.0

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"


def train(
    model_config: ModelConfig,
    train_config: TrainConfig,
    *,
    options: RunOptions,
    train_shards: Sequence[Path],
    valid_shards: Sequence[Path],
    output_dir: Path,
    on_metrics: OnMetrics | None = None,
    on_checkpoint: OnCheckpoint | None = None,
    on_progress: OnProgress | None = None,
    on_first_batch: OnFirstBatch | None = None,
    update_guard: AbstractContextManager[object] | None = None,
) -> TrainResult:
    """Train a model into `output_dir`, or go on with the run that is there.

    Writes `model.safetensors`, `config.json`, `metrics.jsonl` (facts that the arguments
    determine), `timings.jsonl` (those of the machine) and `checkpoints/`. Any exception, also a
    KeyboardInterrupt, saves a checkpoint and is raised again. One that strikes inside an update,
    a few hundredths of the time, leaves the checkpoint before as the one to go on from.

    Args:
        model_config: Shape of the model.
        train_config: What is done; it determines the result.
        options: How it is done here. A resumed run keeps the choices that change rounding.
        train_shards: Token files, in the order of the stream.
        valid_shards: Token files for the sampled validation.
        output_dir: Folder of this run.
        on_metrics: Gets (step, metrics) of every line that is written; a value that is not
            finite is None.
        on_checkpoint: Gets (step, folder) of every checkpoint, in the thread that writes them.
        on_progress: Gets (steps done, steps in all); with a clock the latter is an estimate.
        on_first_batch: Gets the token ids of the first batch, before the first step.
        update_guard: Entered around each update. A caller with a signal handler of its own can
            hold the signal back there.

    Raises:
        ValueError: Shards, device or batch do not fit, or the folder holds another run.
    """
    processes = current_processes()
    _check_processes(train_config, options, processes)
    checkpoint = newest_intact(output_dir / "checkpoints")
    plan = choose_plan(model_config, train_config, options)
    splits = open_splits(train_shards, valid_shards, model_config)
    if checkpoint is not None:
        facts = config_facts(model_config, train_config, splits.train, splits.valid)
        check_same_config(checkpoint, facts, folder=output_dir)
        plan = take_over_plan(plan, checkpoint)
    run = build_run(
        model_config,
        train_config,
        plan=plan,
        splits=splits,
        processes=processes,
        update_guard=update_guard or nullcontext(),
    )
    if checkpoint is not None:
        restore(run, checkpoint)
        run.clock.elapsed_before_s = run.state.elapsed_s
    outputs = _open_outputs(
        output_dir,
        options,
        processes,
        metrics_text=None if checkpoint is None else checkpoint.facts["metrics"],
        on_checkpoint=on_checkpoint,
        on_metrics=on_metrics,
        on_progress=on_progress,
    )
    outputs.saved = None if checkpoint is None else run.state
    if on_first_batch is not None and processes.is_first:
        on_first_batch(run.loader.load(run.state.step).tolist())
    threads_before = torch.get_num_threads()
    torch.set_num_threads(plan.num_threads)
    try:
        _train_and_save(run, outputs)
    finally:
        torch.set_num_threads(threads_before)
        run.loader.close()
    return _result(run)


def _check_processes(config: TrainConfig, options: RunOptions, processes: Processes) -> None:
    if options.num_processes != processes.world_size:
        raise ValueError(
            f"num_processes ({options.num_processes}) must be the number of processes that run "
            f"this ({processes.world_size}); start lm.worker by lm.distributed.torchrun_command"
        )
    if config.batch_size % processes.world_size:
        raise ValueError(
            f"batch_size ({config.batch_size}) must be a multiple of num_processes "
            f"({processes.world_size})"
        )


def _open_outputs(
    folder: Path,
    options: RunOptions,
    processes: Processes,
    *,
    metrics_text: str | None,
    on_checkpoint: OnCheckpoint | None,
    on_metrics: OnMetrics | None,
    on_progress: OnProgress | None,
) -> _Outputs:
    outputs = _Outputs(
        folder=folder,
        options=options,
        writer=None,
        metrics=None,
        timings=None,
        on_metrics=on_metrics,
        on_progress=on_progress,
        saved_at=time.perf_counter(),
    )
    if processes.is_first:
        folder.mkdir(parents=True, exist_ok=True)
        timings_text = None if metrics_text is None else ""
        outputs.metrics = MetricsLog(folder / "metrics.jsonl", text_before=metrics_text)
        outputs.timings = MetricsLog(folder / "timings.jsonl", text_before=timings_text)
        outputs.writer = CheckpointWriter(
            outputs.checkpoints, keep=options.keep_checkpoints, on_checkpoint=on_checkpoint
        )
    return outputs


def _train_and_save(run: TrainingRun, outputs: _Outputs) -> None:
    try:
        _loop(run, outputs)
        _save(run, outputs)
        if run.processes.is_first:
            weights = plain_state_dict(run.published_model)
            save_model(outputs.folder, weights, run.model_config)
    except BaseException as error:
        _save_on_the_way_out(run, outputs, error)
        raise
    finally:
        for resource in (outputs.writer, outputs.metrics, outputs.timings):
            if resource is not None:
                resource.close()


def _loop(run: TrainingRun, outputs: _Outputs) -> None:
    while True:
        is_over = _is_over(run)
        _report(run, outputs)
        if _validation_is_due(run, is_over):
            _validate(run, outputs)
        if _drop_anchor(run) or _checkpoint_is_due(run, outputs):
            _save(run, outputs)
        if is_over:
            return
        take_step(run)
        if run.state.skipped_in_a_row >= run.train_config.max_spikes:
            if outputs.writer is not None:
                outputs.writer.wait()
            roll_back(run, outputs.checkpoints)


def _is_over(run: TrainingRun) -> bool:
    config, state = run.train_config, run.state
    if state.diverged or state.step >= config.max_steps:
        return True
    if not config.max_minutes:
        return False
    return agree(run.clock.share(), run.processes, run.device) >= 1.0


def _report(run: TrainingRun, outputs: _Outputs) -> None:
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
    if outputs.on_progress is not None:
        share = run.clock.share()
        total = round(state.step / share) if share else config.max_steps
        outputs.on_progress(state.step, max(total, state.step))


def _write(outputs: _Outputs, log: MetricsLog, step: int, metrics: Metrics) -> None:
    if log.write(step, metrics) and outputs.on_metrics is not None:
        outputs.on_metrics(step, metrics)


def _validation_is_due(run: TrainingRun, is_over: bool) -> bool:
    config, state = run.train_config, run.state
    if state.validated_step == state.step:
        return False
    # with a clock the first one is before the first step, to know how long the last will take
    is_at_interval = (state.step > 0 or config.max_minutes > 0) and (
        config.valid_interval > 0 and state.step % config.valid_interval == 0
    )
    return is_over or is_at_interval or (config.max_minutes > 0 and state.validated_step < 0)


def _validate(run: TrainingRun, outputs: _Outputs) -> None:
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
    if state.step % ANCHOR_INTERVAL or state.skipped_in_a_row or state.anchor_step == state.step:
        return False
    run.state = replace(state, anchor_step=state.step)
    return True


def _checkpoint_is_due(run: TrainingRun, outputs: _Outputs) -> bool:
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


def _save(run: TrainingRun, outputs: _Outputs) -> None:
    if outputs.writer is None or outputs.metrics is None or outputs.saved is run.state:
        return
    checkpoint = snapshot(run, metrics_text=outputs.metrics.flush_to_disk())
    pinned = frozenset({run.state.anchor_step, run.state.best_step})
    outputs.writer.write(checkpoint, pinned=pinned)
    outputs.saved, outputs.saved_at = run.state, time.perf_counter()


def _save_on_the_way_out(run: TrainingRun, outputs: _Outputs, error: BaseException) -> None:
    """Save what can be resumed exactly: nothing if an update was interrupted half-way."""
    if not run.is_whole:
        error.add_note("interrupted inside an update: resumes from the checkpoint before")
        return
    try:
        _save(run, outputs)
    except Exception as save_error:
        error.add_note(f"no checkpoint could be saved on the way out: {save_error!r}")


def _result(run: TrainingRun) -> TrainResult:
    wait_for_all(run.processes)
    state = run.state
    return TrainResult(
        step=state.step,
        tokens_seen=state.step * tokens_per_step(run),
        train_loss=state.loss,
        valid_loss=state.valid_loss,
        diverged=state.diverged,
        deterministic=run.train_config.max_minutes == 0,
        num_skipped=state.num_skipped,
        seconds=run.clock.elapsed_s(),
        environment=asdict(run.plan)
        | {"world_size": run.processes.world_size, "torch": torch.__version__},
    )
