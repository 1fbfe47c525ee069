"""Training as one call: build or resume a run, take it to its end, return how it ended.

A run is a folder. Called again with the same job after any interruption, `train` resumes from the
newest intact checkpoint and ends with the same files, bit for bit on one CPU type with one thread
count.
"""

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, replace

import torch

from lm.accounting.memory import training_memory
from lm.checkpoint.durable import Checkpoint
from lm.checkpoint.folder import newest_intact
from lm.machine.backend import planned_backend
from lm.machine.determinism import deterministic_kernels, why_not_deterministic
from lm.machine.distributed import Processes, current_processes, wait_for_all
from lm.machine.out_of_memory import explain_out_of_memory
from lm.machine.peak import card_name, measure_peak_flops, vendor_peak_flops
from lm.machine.probe import choose_plan, choose_token_place
from lm.training.job.job import Callbacks, TrainJob, TrainResult
from lm.training.job.resume import check_same_config, config_facts, take_over_plan
from lm.training.loop import run_to_the_end
from lm.training.outputs import Outputs, open_outputs
from lm.training.report import peak_memory_bytes, tokens_per_step
from lm.training.step.run import FACTS, TrainingRun, build_run, open_splits, restore

NO_CALLBACKS = Callbacks()


def train(job: TrainJob, callbacks: Callbacks = NO_CALLBACKS) -> TrainResult:
    """Train a model into `job.output_dir`, or resume the run that is there.

    Writes `model.safetensors`, `config.json`, `metrics.jsonl` (facts that the job determines),
    `timings.jsonl` (facts of the machine), `samples.jsonl` (a short text at each validation) and
    `checkpoints/`. Any exception, also a KeyboardInterrupt, saves a checkpoint and is raised
    again. One that comes inside an update, a few hundredths of the time, saves nothing: then the
    run resumes from the checkpoint before.

    Raises:
        ValueError: Shards, device or batch do not fit, or the folder holds another run.
        TrainingStoppedError: `callbacks.stop_requested` said yes.
    """
    processes = current_processes()
    _check_processes(job, processes)
    run, checkpoint = _build_or_resume(job, processes)
    metrics_text = None if checkpoint is None else checkpoint.facts["metrics"]
    outputs = open_outputs(job, callbacks, processes, metrics_text=metrics_text)
    outputs.saved = None if checkpoint is None else run.state
    _run(run, outputs)
    return _result(run)


def _check_processes(job: TrainJob, processes: Processes) -> None:
    num_processes, batch_size = job.options.num_processes, job.train_config.batch_size
    if num_processes != processes.world_size:
        raise ValueError(
            f"num_processes ({num_processes}) must be the number of processes that run "
            f"this ({processes.world_size}); start it with "
            "lm.machine.distributed.torchrun_command"
        )
    if batch_size % processes.world_size:
        raise ValueError(
            f"batch_size ({batch_size}) must be a multiple of num_processes "
            f"({processes.world_size})"
        )


def _build_or_resume(job: TrainJob, processes: Processes) -> tuple[TrainingRun, Checkpoint | None]:
    started = time.perf_counter()
    plan = choose_plan(job.model_config, job.train_config, job.options)
    splits = open_splits(job)
    place = choose_token_place(plan.device, job.options, size_bytes=splits.train.size_bytes)
    plan = replace(plan, tokens=place)
    checkpoint = newest_intact(job.checkpoints, facts=FACTS)
    if checkpoint is not None:
        facts = config_facts(job, splits.train.num_tokens, splits.valid.num_tokens)
        check_same_config(checkpoint, facts, folder=job.output_dir)
        plan = take_over_plan(plan, checkpoint)
    run = build_run(job, plan, splits, processes)
    run.clock.started = started  # a large corpus takes seconds to be looked through
    if checkpoint is not None:
        restore(run, checkpoint)
        run.clock.take_over(run.state)
    return run, checkpoint


def _run(run: TrainingRun, outputs: Outputs) -> None:
    explain = explain_out_of_memory(run.model_config, run.train_config, run.plan)
    on_first_batch = outputs.callbacks.on_first_batch
    try:
        kernels = deterministic_kernels(run.device, on_gpu=run.plan.deterministic)
        with closing(outputs), planned_backend(run.plan), kernels, explain:
            run.peak_flops = measure_peak_flops(run.device, run.train_config.precision)
            if on_first_batch is not None and run.processes.is_first:
                on_first_batch(run.loader.load(run.state.step).tolist())
            if outputs.callbacks.on_start is not None:
                outputs.callbacks.on_start(run.state.step, run.plan.compile)
            run_to_the_end(run, outputs)
    finally:
        run.loader.close()


def _result(run: TrainingRun) -> TrainResult:
    wait_for_all(run.processes)
    state = run.state
    reason = why_not_deterministic(
        run.plan.device,
        is_deterministic=run.plan.deterministic,
        has_clock=run.train_config.max_minutes > 0,
    )
    return TrainResult(
        step=state.step,
        tokens_seen=state.step * tokens_per_step(run),
        train_loss=state.loss,
        valid_loss=state.valid_loss,
        diverged=state.diverged,
        deterministic=not reason,
        nondeterminism=reason,
        num_skipped=state.num_skipped,
        seconds=run.clock.elapsed_s(),
        seconds_before=run.clock.elapsed_before_s,
        environment=_environment(run),
    )


def _environment(run: TrainingRun) -> Mapping[str, object]:
    config, card = run.train_config, card_name(run.device)
    predicted = training_memory(
        run.model_config,
        micro_batch_size=run.plan.micro_batch_size,
        precision=config.precision,
        optimizer=config.optimizer,
        loss_chunk=run.plan.loss_chunk,
    )
    return asdict(run.plan) | {
        "world_size": run.processes.world_size,
        "torch": str(torch.__version__),
        "peak_flops": run.peak_flops,
        "card": card,
        "vendor_peak_flops": vendor_peak_flops(card, config.precision),
        "first_step_s": run.first_step_s,
        "peak_memory_bytes": peak_memory_bytes(run.device),
        "predicted_memory_bytes": sum(predicted.values()),
    }
