"""Stage `train_lm`: the language model from the token shards.

`lm` works on local folders only: the shards are brought here, the working folder lies in the
staging place, and a restart finds its checkpoints there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from artifacts.identity import Identity, Reference
from artifacts.mirror import drop_mirrors, mirror_files, restore_newest
from artifacts.reading import local_folder
from artifacts.staging import Staging, add_part
from artifacts.store import record_of
from lm.config import ModelConfig, RunOptions, TrainConfig
from tasks.progress import progress
from tasks.retry import is_transient
from tasks.stage import STAGE_OPTIONS, Built, RunContext, build_once, store_of
from tasks.tracking import forward_metrics, stage_run
from tasks.training_process import train_in_processes

if TYPE_CHECKING:
    from lm.training.run_file import RunFile
    from lm.training.train import TrainResult

STAGE = "train_lm"
VERSION = 1

METRICS = ("metrics.jsonl", "timings.jsonl")
PUBLISHED = ("model.safetensors", "config.json", *METRICS)
VOLATILE = ("timings.jsonl",)

Decode = Callable[[list[int]], str]

SHOWN_SEQUENCES = 3
"""Sequences of the first batch that are logged."""

logger = logging.getLogger(__name__)


def model_identity(
    model: ModelConfig, train_lm: TrainConfig, shards: Mapping[str, Reference]
) -> Identity:
    """Say what the weights depend on: shape, training, and both splits' tokens."""
    return Identity(
        stage=STAGE,
        version=VERSION,
        config={"model": asdict(model), "train_lm": asdict(train_lm)},
        inputs=dict(shards),
    )


@task(name=STAGE, task_run_name=STAGE, **STAGE_OPTIONS)
def train_lm(
    context: RunContext,
    model: ModelConfig,
    train_config: TrainConfig,
    options: RunOptions,
    shards: Mapping[str, Reference],
) -> State[Reference]:
    """Train the model, or go on where an interrupted training stopped, and publish it."""
    identity = model_identity(model, train_config, shards)

    def build(staging: Staging) -> Built:
        return _train(context, identity, model, train_config, options, staging)

    return build_once(context, identity, build)


def shard_paths(context: RunContext, shards: Reference) -> list[Path]:
    """Bring the token shards of one split to this machine, in the order of the text."""
    return sorted(local_folder(store_of(context), shards).glob("shard-*.npy"))


def _train(
    context: RunContext,
    identity: Identity,
    model: ModelConfig,
    train_config: TrainConfig,
    options: RunOptions,
    staging: Staging,
) -> Built:
    from lm.training.run_file import RunFile

    folder = staging.workdir
    training = RunFile(
        model_config=model,
        train_config=train_config,
        options=options,
        train_shards=shard_paths(context, identity.inputs["train"]),
        valid_shards=shard_paths(context, identity.inputs["valid"]),
        output_dir=folder,
    )
    tags = {"fingerprint": identity.fingerprint, "stage": STAGE}
    if not any(folder.glob("checkpoints/*")) and (name := restore_newest(staging)):
        get_run_logger().info("training goes on from the checkpoint %s of another machine", name)
    with stage_run(context.tracking, STAGE, params=dict(identity.config), tags=tags) as run:
        for split, shards in identity.inputs.items():
            run.log_dataset(split, digest=shards.fingerprint, source=shards.uri, context=split)
        with forward_metrics(run, [folder / name for name in METRICS]):
            result = _perform(training, staging, _decoder(context, identity))
        if result.diverged:
            get_run_logger().warning("training diverged at step %d", result.step)
        run.set_tags({f"environment.{name}": str(v) for name, v in result.environment.items()})
    for name in PUBLISHED:
        # Weights of an attempt on another machine may differ in their last bits.
        add_part(staging, folder / name, name, replace=True)
    drop_mirrors(staging)
    return Built(
        statistics=_statistics(result),
        volatile=VOLATILE,
        deterministic=result.deterministic,
        mlflow_run_id=run.run_id or None,
    )


def _perform(training: RunFile, staging: Staging, decode: Decode) -> TrainResult:
    from lm.training.train import train

    def on_checkpoint(step: int, folder: Path) -> None:
        _mirror(staging, step, folder)

    if training.options.num_processes > 1:
        return train_in_processes(training, on_checkpoint=on_checkpoint)
    with progress("train", unit="steps") as on_progress:
        return train(
            training.model_config,
            training.train_config,
            options=training.options,
            train_shards=training.train_shards,
            valid_shards=training.valid_shards,
            output_dir=training.output_dir,
            on_checkpoint=on_checkpoint,
            on_progress=on_progress,
            on_first_batch=lambda batch: _show_batch(batch, decode),
        )


def _decoder(context: RunContext, identity: Identity) -> Decode:
    """Return what turns the shards' token ids into text."""
    from tokenizer.encoding.tokenizer import Tokenizer

    store = store_of(context)
    shards = record_of(store, identity.inputs["train"])
    return Tokenizer.from_folder(local_folder(store, shards.inputs["tokenizer"])).decode


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
        files += [path for name in METRICS if (path := staging.workdir / name).exists()]
        by_name = {path.relative_to(staging.workdir).as_posix(): path for path in files}
        mirror_files(staging, f"{step:08d}", by_name)
    except Exception as error:
        if not (isinstance(error, OSError) or is_transient(error)):
            raise
        logger.warning("checkpoint %d is not mirrored to the store: %s", step, error)


def _statistics(result: TrainResult) -> dict[str, Any]:
    return {
        "step": result.step,
        "tokens_seen": result.tokens_seen,
        "train_loss": result.train_loss,
        "valid_loss": result.valid_loss,
        "diverged": result.diverged,
        "seconds": result.seconds,
        "environment": dict(result.environment),
    }
