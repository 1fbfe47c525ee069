"""What a stage will take: seconds from earlier records, FLOPs, memory and disk from the config."""

from dataclasses import dataclass

from artifacts.record import Record
from flows.config import PipelineConfig
from lm.accounting import (
    forward_flops,
    num_parameters,
    training_flops_per_token,
    training_memory,
)
from lm.config import ModelConfig

BYTES_PER_TOKEN = 4.0
"""Bytes of English text a token, before a tokenizer of this store says better."""
WEIGHT_BYTES = 4
"""Weights are published as fp32."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What a stage is expected to take; `None` where nothing is known yet."""

    seconds: float | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    flops: int | None = None


def predict(stage: str, label: str, config: PipelineConfig, records: list[Record]) -> Prediction:
    """Predict one stage from its config and from earlier artifacts of the same stage."""
    flops = _flops(stage, config, records)
    text_bytes = _text_bytes(label or "train", config, records)
    memory_bytes = disk_bytes = None
    if stage == "train_lm":
        parts = training_memory(
            config.model,
            micro_batch_size=config.run.micro_batch_size or config.train_lm.batch_size,
            precision=config.train_lm.precision,
            optimizer=config.train_lm.optimizer,
        )
        memory_bytes = sum(parts.values())
        disk_bytes = num_parameters(config.model) * WEIGHT_BYTES
    elif stage == "encode_shards" and text_bytes is not None:
        disk_bytes = int(2 * text_bytes / _bytes_per_token(records))
    elif stage == "download":
        disk_bytes = text_bytes
    return Prediction(
        seconds=_seconds(stage, flops or text_bytes, records),
        memory_bytes=memory_bytes,
        disk_bytes=disk_bytes,
        flops=flops,
    )


def _flops(stage: str, config: PipelineConfig, records: list[Record]) -> int | None:
    if stage == "train_lm":
        tokens = config.train_lm.max_steps * config.train_lm.batch_size
        return tokens * config.model.context_length * training_flops_per_token(config.model)
    if stage == "evaluate":
        text_bytes = _text_bytes("valid", config, records)
        if text_bytes is None:
            return None
        windows = text_bytes / _bytes_per_token(records) / config.model.context_length
        return int(windows * sum(forward_flops(config.model).values()))
    return None


def _text_bytes(split: str, config: PipelineConfig, records: list[Record]) -> int | None:
    """Return the size of a split's text, if this corpus was here before."""
    for record in records:
        is_split = record.stage == "download" and record.config.get("split") == split
        if is_split and record.labels.get("corpus") == config.corpus.name:
            return int(record.statistics["size_bytes"])
    return None


def _bytes_per_token(records: list[Record]) -> float:
    for record in records:
        if record.stage == "train_tokenizer":
            return float(record.statistics["bytes_per_token"])
    return BYTES_PER_TOKEN


def _seconds(stage: str, amount: int | None, records: list[Record]) -> float | None:
    """Scale the seconds of the newest artifact of the stage by the amount of work."""
    for record in records:
        if record.stage == stage:
            done = _work_done(record)
            return record.seconds * (amount / done if amount and done else 1.0)
    return None


def _work_done(record: Record) -> int | None:
    """Return the FLOPs of a training or the bytes of text that a record's work took."""
    if record.stage == "train_lm":
        model = ModelConfig(**record.config["model"])
        return int(record.statistics["tokens_seen"]) * training_flops_per_token(model)
    if record.stage in ("download", "encode_shards", "count_pretokens"):
        return int(record.statistics["size_bytes"])
    return None
