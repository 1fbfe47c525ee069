"""Training as one call: build or resume a run, take it to its end, say how it ended.

A run is a folder. Called again with the same arguments after any interruption, `train` goes on
from the newest intact checkpoint and ends with the same files, bit for bit on one CPU type with
one thread count.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lm.accounting import training_memory
from lm.checkpoint.durable import Checkpoint
from lm.checkpoint.folder import newest_intact
from lm.config import ModelConfig, RunOptions, TrainConfig
from lm.machine.backend import planned_backend
from lm.machine.determinism import deterministic_kernels
from lm.machine.distributed import Processes, current_processes, wait_for_all
from lm.machine.out_of_memory import explain_out_of_memory
from lm.machine.peak import measure_peak_flops
from lm.machine.probe import Plan, choose_plan
from lm.training.loop import (
    Callbacks,
    OnCheckpoint,
    OnMetrics,
    OnProgress,
    Outputs,
    StopRequested,
    open_outputs,
    run_to_the_end,
)
from lm.training.report import peak_memory_bytes, tokens_per_step
from lm.training.resume import check_same_config, config_facts, take_over_plan
from lm.training.run import Splits, TrainingRun, build_run, open_splits, restore

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
    """What the run chose on this machine, its version of torch, the FLOP/s of a large product,
    seconds of the first step (compilation is in it), peak memory measured and predicted; on a CPU
    the former counts the whole process."""


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
    stop_requested: StopRequested | None = None,
) -> TrainResult:
    """Train a model into `output_dir`, or go on with the run that is there.

    Writes `model.safetensors`, `config.json`, `metrics.jsonl` (facts that the arguments
    determine), `timings.jsonl` (those of the machine) and `checkpoints/`. Any exception, also a
    KeyboardInterrupt, saves a checkpoint and is raised again; one that strikes inside an update,
    a few hundredths of the time, leaves the checkpoint before as the one to go on from.

    Args:
        model_config: Shape of the model.
        train_config: What is done; with the shards it determines the result.
        options: How it is done here. A resumed run keeps the choices that change rounding.
        train_shards: Token files, in the order of the stream.
        valid_shards: Token files for the sampled validation.
        output_dir: Folder of this run.
        on_metrics: Gets (step, metrics) of every line written; what is not finite is None.
        on_checkpoint: Gets (step, folder) of each checkpoint, in the thread that writes them.
        on_progress: Gets (steps done, steps in all); with a clock the latter is an estimate.
        on_first_batch: Gets the token ids of the first batch, before the first step.
        stop_requested: Asked before every step; yes to one process makes all save and leave.

    Raises:
        ValueError: Shards, device or batch do not fit, or the folder holds another run.
        TrainingStoppedError: `stop_requested` said yes.
    """
    processes = current_processes()
    _check_processes(train_config, options, processes)
    run, checkpoint = _build_or_resume(
        model_config,
        train_config,
        plan=choose_plan(model_config, train_config, options),
        splits=open_splits(train_shards, valid_shards, model_config),
        processes=processes,
        output_dir=output_dir,
    )
    outputs = open_outputs(
        output_dir,
        options,
        processes,
        metrics_text=None if checkpoint is None else checkpoint.facts["metrics"],
        callbacks=Callbacks(
            on_metrics=on_metrics, on_checkpoint=on_checkpoint, on_progress=on_progress
        ),
    )
    outputs.saved = None if checkpoint is None else run.state
    _run(run, outputs, on_first_batch, stop_requested)
    return _result(run)


def _build_or_resume(
    model_config: ModelConfig,
    train_config: TrainConfig,
    *,
    plan: Plan,
    splits: Splits,
    processes: Processes,
    output_dir: Path,
) -> tuple[TrainingRun, Checkpoint | None]:
    checkpoint = newest_intact(output_dir / "checkpoints")
    if checkpoint is not None:
        facts = config_facts(model_config, train_config, splits.train, splits.valid)
        check_same_config(checkpoint, facts, folder=output_dir)
        plan = take_over_plan(plan, checkpoint)
    run = build_run(model_config, train_config, plan=plan, splits=splits, processes=processes)
    if checkpoint is not None:
        restore(run, checkpoint)
        run.clock.elapsed_before_s = run.state.elapsed_s
    return run, checkpoint


def _run(
    run: TrainingRun,
    outputs: Outputs,
    on_first_batch: OnFirstBatch | None,
    stop_requested: StopRequested | None,
) -> None:
    explain = explain_out_of_memory(run.model_config, run.train_config, run.plan)
    try:
        with planned_backend(run.plan), deterministic_kernels(run.device), explain:
            run.peak_flops = measure_peak_flops(run.device, run.train_config.precision)
            if on_first_batch is not None and run.processes.is_first:
                on_first_batch(run.loader.load(run.state.step).tolist())
            run_to_the_end(run, outputs, stop_requested=stop_requested)
    finally:
        run.loader.close()


def _check_processes(config: TrainConfig, options: RunOptions, processes: Processes) -> None:
    if options.num_processes != processes.world_size:
        raise ValueError(
            f"num_processes ({options.num_processes}) must be the number of processes that run "
            f"this ({processes.world_size}); start it with "
            "lm.machine.distributed.torchrun_command"
        )
    if config.batch_size % processes.world_size:
        raise ValueError(
            f"batch_size ({config.batch_size}) must be a multiple of num_processes "
            f"({processes.world_size})"
        )


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
        environment=_environment(run),
    )


def _environment(run: TrainingRun) -> dict[str, Any]:
    config = run.train_config
    predicted = training_memory(
        run.model_config,
        micro_batch_size=run.plan.micro_batch_size,
        precision=config.precision,
        optimizer=config.optimizer,
    )
    return asdict(run.plan) | {
        "world_size": run.processes.world_size,
        "torch": torch.__version__,
        "peak_flops": run.peak_flops,
        "first_step_s": run.first_step_s,
        "peak_memory_bytes": peak_memory_bytes(run.device),
        "predicted_memory_bytes": sum(predicted.values()),
    }
