"""A training run as a JSON file, for `lm.training.worker`, and its result as another."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lm.checkpoint.durable import write_json
from lm.config import ModelConfig, RunOptions, TrainConfig
from lm.training.train import TrainResult


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """The arguments of `lm.training.train.train` that are data."""

    model_config: ModelConfig
    train_config: TrainConfig
    options: RunOptions
    train_shards: Sequence[Path]
    valid_shards: Sequence[Path]
    output_dir: Path


def write_run_file(path: Path, run: RunFile) -> None:
    """Write a run for `python -m lm.training.worker` to read."""
    values = {
        "model": asdict(run.model_config),
        "train_lm": asdict(run.train_config),
        "options": asdict(run.options),
        "train_shards": [str(shard) for shard in run.train_shards],
        "valid_shards": [str(shard) for shard in run.valid_shards],
        "output_dir": str(run.output_dir),
    }
    write_json(path, values)


def read_run_file(path: Path) -> RunFile:
    """Read what `write_run_file` wrote.

    Raises:
        ValueError: The file is not there, is no JSON, or has missing or unknown fields.
    """
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        betas = tuple(values["train_lm"]["betas"])
        return RunFile(
            model_config=ModelConfig(**values["model"]),
            train_config=TrainConfig(**{**values["train_lm"], "betas": betas}),
            options=RunOptions(**values["options"]),
            train_shards=[Path(shard) for shard in values["train_shards"]],
            valid_shards=[Path(shard) for shard in values["valid_shards"]],
            output_dir=Path(values["output_dir"]),
        )
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a run file of write_run_file: {error!r}") from error


def result_path(run_file: Path) -> Path:
    """Name the file in which the worker leaves its result: beside the run file."""
    return run_file.with_suffix(".result.json")


def write_result(run_file: Path, result: TrainResult) -> None:
    """Leave a result for the process that started the worker."""
    write_json(result_path(run_file), asdict(result))


def read_result(run_file: Path) -> TrainResult:
    """Read the result of a worker that has ended well."""
    values = json.loads(result_path(run_file).read_text(encoding="utf-8"))
    return TrainResult(**values)
