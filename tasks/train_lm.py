"""Stage `train_lm`: the language model from the token shards.

`lm` works on local folders only: the shards are brought here, the working folder lies in the
staging place, and a restart finds its checkpoints there.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import task
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from artifacts.reading import local_folder
from artifacts.record import Reference
from artifacts.staging import Staging, add_part
from lm.config import ModelConfig, RunOptions, TrainConfig
from tasks.identity import Identity
from tasks.progress import progress
from tasks.stage import STAGE_OPTIONS, Built, RunContext, build_once, store_of
from tasks.tracking import forward_metrics, stage_run

STAGE = "train_lm"
VERSION = 1

PUBLISHED = ("model.safetensors", "config.json", "metrics.jsonl", "timings.jsonl")
VOLATILE = ("timings.jsonl",)


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


@task(name=STAGE, **STAGE_OPTIONS)
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
    from lm.train import train

    folder = staging.workdir
    tags = {"fingerprint": identity.fingerprint, "stage": STAGE}
    with stage_run(context.tracking, STAGE, params=dict(identity.config), tags=tags) as run:
        for split, reference in identity.inputs.items():
            run.log_dataset(
                split, digest=reference.fingerprint, source=reference.uri, context=split
            )
        metrics = [folder / "metrics.jsonl", folder / "timings.jsonl"]
        with forward_metrics(run, metrics), progress("train", unit="steps") as on_progress:
            result = train(
                model,
                train_config,
                options=options,
                train_shards=shard_paths(context, identity.inputs["train"]),
                valid_shards=shard_paths(context, identity.inputs["valid"]),
                output_dir=folder,
                on_progress=on_progress,
            )
        if result.diverged:
            get_run_logger().warning("training diverged at step %d", result.step)
        run.set_tags({f"environment.{name}": str(v) for name, v in result.environment.items()})
    for name in PUBLISHED:
        add_part(staging, folder / name, name, replace=name in VOLATILE)
    return Built(
        statistics=_statistics(result),
        volatile=VOLATILE,
        deterministic=result.deterministic,
        mlflow_run_id=run.run_id or None,
    )


def _statistics(result: Any) -> dict[str, Any]:
    return {
        "step": result.step,
        "tokens_seen": result.tokens_seen,
        "train_loss": result.train_loss,
        "valid_loss": result.valid_loss,
        "diverged": result.diverged,
        "seconds": result.seconds,
        "environment": dict(result.environment),
    }
