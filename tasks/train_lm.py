"""Stage `train_lm`: the language model from the token shards.

`lm` works on local folders only: the shards are brought here, the working folder lies in the
staging place, and a restart finds its checkpoints there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from artifacts.building.mirror import mirror_files, restore_newest
from artifacts.building.staging import Staging, add_part, confirm
from artifacts.identity import Identity, Reference
from artifacts.published.reading import local_files
from artifacts.record import JsonObject, Record
from artifacts.store import Store, list_records
from lm.accounting.flops import training_flops_per_token
from lm.accounting.memory import training_memory
from lm.accounting.parameters import num_parameters
from lm.config import ModelConfig, TrainConfig
from tasks.context import RunContext, store_of
from tasks.corpus.validation import remark_on_validation
from tasks.execution.building import Built, build_once
from tasks.execution.machine import missing_device
from tasks.execution.prediction import Outlook, Prediction, nearest_work, predict_work
from tasks.execution.retry import is_transient
from tasks.execution.training_account import PREDICTED_SECONDS, RESUMED_AT, show
from tasks.execution.training_process import (
    needs_own_process,
    newest_step,
    step_reached,
    steps_told,
    train_in_processes,
)
from tasks.stage import STAGE_OPTIONS, Stage, perform_by
from tasks.text_model import tokenizer_of
from tasks.tracking.runs import forward_metrics, stage_run
from tasks.watching.events import CompileEnded, CompileStarted, Resumed, emit
from tasks.watching.progress import OnProgress, progress
from tasks.watching.stopping import RunStopped, stop_switch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lm.training.job.job import TrainJob, TrainResult

STAGE = "train_lm"
VERSION = 1

METRICS = ("metrics.jsonl", "timings.jsonl")
SAMPLES = "samples.jsonl"
PUBLISHED = ("model.safetensors", "config.json", *METRICS, SAMPLES)
VOLATILE = ("timings.jsonl", SAMPLES)
WORK = ("checkpoints/step-*/*", *METRICS, SAMPLES)
"""Files of the working folder from which a training resumes."""

Decode = Callable[[list[int]], str]

SHOWN_SEQUENCES = 3
"""Sequences of the first batch that are logged."""
WEIGHT_BYTES = 4
"""Weights are published as fp32."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSettings:
    """What is trained, and how."""

    model: ModelConfig
    train_lm: TrainConfig


def model_identity(settings: TrainingSettings, train: Reference, valid: Reference) -> Identity:
    """Return what the weights depend on: shape, training, and both splits' tokens."""
    inputs = {"train": train, "valid": valid}
    return Identity(stage=STAGE, version=VERSION, config=asdict(settings), inputs=inputs)


@task(name=STAGE, task_run_name=STAGE, **STAGE_OPTIONS)
def train_lm(
    context: RunContext, identity: Identity, settings: TrainingSettings
) -> State[Reference]:
    """Train the model, or resume an interrupted training, and publish it."""

    def build(staging: Staging) -> Built:
        return _train(context, identity, settings, staging)

    return build_once(context, identity, build, work=WORK)


def predict(settings: TrainingSettings, outlook: Outlook) -> Prediction:
    """Predict FLOPs, memory and disk from the config, and the time from an earlier training."""
    config = settings.train_lm
    tokens = config.max_steps * config.batch_size * settings.model.context_length
    flops = tokens * training_flops_per_token(settings.model)
    found = nearest_work(outlook, STAGE, flops, _flops_done)
    memory_bytes = _step_memory(settings.model, asdict(config), outlook)
    if found is not None:  # what the process needs besides: Python, torch, other stages' leavings
        record, _ = found
        model = ModelConfig(**record.config["model"])
        earlier = _step_memory(model, record.config["train_lm"], outlook)
        memory_bytes += max(0, record.peak_rss_bytes - earlier)
    seconds = predict_work(outlook, STAGE, flops, _flops_done).seconds
    if seconds is not None and found is not None:
        # The first step compiles, which takes as long for many steps as for few.
        first_s = _first_step_seconds(found[0])
        seconds = first_s + max(0.0, seconds - first_s * flops / found[1])
    prediction = Prediction(
        seconds=seconds,
        memory_bytes=memory_bytes,
        disk_bytes=num_parameters(settings.model) * WEIGHT_BYTES,
        flops=flops,
    )
    return _within_budget(prediction, 60.0 * config.max_minutes)


def describe_unfinished(store: Store, identity: Identity) -> str:
    """Return the step at which a stopped training resumes, in words; "": there is none."""
    training: Any = identity.config["train_lm"]
    step = step_reached(store, identity)
    return f"a stopped training resumes at step {step:,} of {training['max_steps']:,}" * (step > 0)


def _within_budget(prediction: Prediction, budget_s: float) -> Prediction:
    """Cut time and work to what fits into a budget of seconds; 0: there is none."""
    seconds, flops = prediction.seconds, prediction.flops
    if not budget_s or (seconds is not None and seconds <= budget_s):
        return prediction
    done = int(flops * budget_s / seconds) if flops and seconds else None
    return replace(prediction, seconds=budget_s, flops=done)


def _first_step_seconds(record: Record) -> float:
    environment = record.statistics.get("environment", {})
    return float(environment.get("first_step_s", 0.0)) if environment.get("compile") else 0.0


def _step_memory(model: ModelConfig, train_lm: JsonObject, outlook: Outlook) -> int:
    parts = training_memory(
        model,
        micro_batch_size=outlook.options.micro_batch_size or train_lm["batch_size"],
        precision=train_lm["precision"],
        optimizer=train_lm["optimizer"],
    )
    return sum(parts.values())


def _flops_done(record: Record) -> int:
    model = ModelConfig(**record.config["model"])
    return int(record.statistics["tokens_seen"]) * training_flops_per_token(model)


def _predicted_seconds(context: RunContext, settings: TrainingSettings) -> float | None:
    """Predict the time before it is measured, to be held against it; None: the clock sets it."""
    if settings.train_lm.max_minutes:
        return None
    outlook = Outlook(
        records=list_records(store_of(context)),
        corpus=context.labels.get("corpus", ""),
        model=settings.model,
        options=context.options,
    )
    return predict(settings, outlook).seconds


TRAIN_LM = Stage(
    name=STAGE,
    identify=model_identity,
    perform=perform_by(train_lm),
    predict=predict,
    show=show,
    find_obstacle=lambda settings, options: missing_device(options, settings.train_lm.precision),
    find_unfinished=describe_unfinished,
)


def shard_paths(context: RunContext, shards: Reference) -> list[Path]:
    """Bring the token shards of one split to this machine, in the order of the text."""
    return local_files(store_of(context), shards, "shard-*.npy")


def document_starts(context: RunContext, shards: Reference) -> NDArray[np.int64]:
    """Return the places in the stream of a split's shards at which a document starts."""
    import numpy as np

    lengths = [len(np.load(path, mmap_mode="r")) for path in shard_paths(context, shards)]
    starts = [np.load(path) for path in local_files(store_of(context), shards, "documents-*.npy")]
    before = np.cumsum([0, *lengths[:-1]])
    return np.concatenate([start + n for start, n in zip(starts, before, strict=True)])


def _train(
    context: RunContext,
    identity: Identity,
    settings: TrainingSettings,
    staging: Staging,
) -> Built:
    from lm.training.job.job import TrainJob

    folder = staging.workdir
    job = TrainJob(
        model_config=settings.model,
        train_config=settings.train_lm,
        options=context.options,
        train_shards=shard_paths(context, identity.inputs["train"]),
        valid_shards=shard_paths(context, identity.inputs["valid"]),
        output_dir=folder,
    )
    predicted_s = _predicted_seconds(context, settings)
    if remark := remark_on_validation(store_of(context), identity.inputs["valid"]):
        get_run_logger().warning(remark)
    tags = {"fingerprint": identity.fingerprint, "stage": STAGE}
    if not any(folder.glob("checkpoints/*")) and (name := restore_newest(staging)):
        get_run_logger().info("training resumes from the checkpoint %s of another machine", name)
    resumed_at = newest_step(job)
    with stage_run(context.tracking, STAGE, params=dict(identity.config), tags=tags) as run:
        for split, shards in identity.inputs.items():
            run.log_dataset(split, digest=shards.fingerprint, source=shards.uri, context=split)
        with forward_metrics(run, [folder / name for name in METRICS]):
            decode = tokenizer_of(store_of(context), identity.inputs["train"]).decode
            result = _perform(job, staging, decode, _compile_seconds(context))
        if result.diverged:
            get_run_logger().warning("training diverged at step %d", result.step)
        run.set_tags({f"environment.{name}": str(v) for name, v in result.environment.items()})
    for name in PUBLISHED:
        # Weights of an attempt on another machine may differ in their last bits.
        add_part(staging, folder / name, name, replace=True)
    resumed = {RESUMED_AT: resumed_at} if resumed_at > 0 else {}
    return Built(
        statistics={**_statistics(result), PREDICTED_SECONDS: predicted_s, **resumed},
        seconds_before=result.seconds_before,
        volatile=VOLATILE,
        deterministic=result.deterministic,
        mlflow_run_id=run.run_id or None,
    )


def _compile_seconds(context: RunContext) -> float | None:
    """Return the seconds that the newest compiled training took for its first step."""
    for record in list_records(store_of(context), STAGE):
        environment = record.statistics.get("environment", {})
        if environment.get("compile"):
            return float(environment["first_step_s"])
    return None


def _perform(
    job: TrainJob, staging: Staging, decode: Decode, compile_s: float | None
) -> TrainResult:
    from lm.training.job.job import Callbacks, TrainingStoppedError
    from lm.training.train import train

    def on_checkpoint(step: int, folder: Path) -> None:
        _mirror(staging, step, folder)

    max_steps = job.train_config.max_steps
    if needs_own_process(job):
        guard = partial(confirm, staging)
        _tell_start(newest_step(job), max_steps)
        try:
            with progress("train", unit="steps", guard=guard) as on_progress:
                return train_in_processes(
                    job,
                    on_checkpoint=on_checkpoint,
                    guard=lambda: on_progress(steps_told(job), max_steps),
                )
        except RunStopped:
            raise _stopped_at(newest_step(job), max_steps) from None
    switch = stop_switch()
    with progress("train", unit="steps", guard=partial(confirm, staging)) as on_progress:
        telling = _Telling(max_steps, on_progress, compile_s)
        callbacks = Callbacks(
            on_checkpoint=on_checkpoint,
            on_progress=telling.on_progress,
            on_start=telling.on_start,
            on_first_batch=lambda batch: _show_batch(batch, decode),
            stop_requested=lambda: switch.is_pressed,
        )
        try:
            with switch.holding():
                return train(job, callbacks)
        except TrainingStoppedError as error:
            raise _stopped_at(error.step, error.max_steps) from None


class _Telling:
    """Tells where a training begins, and that its first step compiles."""

    def __init__(self, max_steps: int, on_progress: OnProgress, compile_s: float | None) -> None:
        self.max_steps = max_steps
        self.show_progress = on_progress
        self.compile_s = compile_s
        self.compiles_at = -1

    def on_start(self, step: int, compiles: bool) -> None:
        """Tell what is before the first step."""
        _tell_start(step, self.max_steps)
        if compiles:
            self.compiles_at = step
            what = "the training step (torch.compile)"
            emit(CompileStarted(what=what, expected_s=self.compile_s))

    def on_progress(self, step: int, total: int) -> None:
        """Tell how far it is; the step after the first one is the sign that it is compiled."""
        if 0 <= self.compiles_at < step:
            self.compiles_at = -1
            emit(CompileEnded())
        self.show_progress(step, total)


def _tell_start(step: int, max_steps: int) -> None:
    if step > 0:
        emit(Resumed(stage=STAGE, step=step, max_steps=max_steps))


def _stopped_at(step: int, max_steps: int) -> RunStopped:
    return RunStopped(f"{STAGE} at step {max(step, 0):,} of {max_steps:,}")


def _show_batch(batch: list[list[int]], decode: Decode) -> None:
    """Log how the first batch's sequences begin: a person sees at once what is trained on."""
    for number, token_ids in enumerate(batch[:SHOWN_SEQUENCES]):
        get_run_logger().info("first batch, sequence %d: %r", number, decode(token_ids)[:120])


def _mirror(staging: Staging, step: int, checkpoint: Path) -> None:
    """Send a checkpoint, with the metrics up to it, to the store; called off the training thread.

    A store that is away costs the mirror, not the training; so does a checkpoint that was
    rotated away meanwhile.
    """
    try:
        files = [path for path in checkpoint.iterdir() if path.is_file()]
        files += [path for name in (*METRICS, SAMPLES) if (path := staging.workdir / name).exists()]
        by_name = {path.relative_to(staging.workdir).as_posix(): path for path in files}
        mirror_files(staging, f"{step:08d}", by_name)
    except Exception as error:
        if not (isinstance(error, OSError) or is_transient(error)):
            raise
        logger.warning("checkpoint %d is not mirrored to the store: %s", step, error)


def _statistics(result: TrainResult) -> JsonObject:
    return {
        "step": result.step,
        "tokens_seen": result.tokens_seen,
        "train_loss": result.train_loss,
        "valid_loss": result.valid_loss,
        "diverged": result.diverged,
        **({"nondeterminism": result.nondeterminism} if result.nondeterminism else {}),
        "seconds": result.seconds,
        "environment": dict(result.environment),
    }
