"""Weights on disk: the published model, and checkpoints from which training resumes exactly.

A model is a folder with `model.safetensors` and `config.json`; a checkpoint is a folder as in
`lm/checkpoint/durable.py`. Names of weights are those of the plain model, compiled or not.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lm.accounting.parameters import num_parameters
from lm.checkpoint.durable import (
    PARTIAL_PREFIX,
    Checkpoint,
    JsonObject,
    flush,
    read_checkpoint,
    save_tensors,
    write_checkpoint,
    write_json,
)
from lm.checkpoint.optimizer_state import flatten_optimizer, restore_optimizer
from lm.config import ModelConfig
from lm.model.transformer import TransformerLM, plain_state_dict

MODEL_NAME, CONFIG_NAME = "model.safetensors", "config.json"


def take_tensors(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> tuple[dict[str, Tensor], list[JsonObject]]:
    """Copy weights and optimizer state to the CPU, where later steps do not change them.

    Returns tensors named `model.…` and `optimizers.{i}.…`, and the rest of each
    optimizer, which JSON can hold.
    """
    named = {
        f"model.{name}": tensor for name, tensor in plain_state_dict(model.state_dict()).items()
    }
    rests = []
    for number, optimizer in enumerate(optimizers):
        tensors, rest = flatten_optimizer(optimizer)
        named |= {f"optimizers.{number}.{name}": tensor for name, tensor in tensors.items()}
        rests.append(rest)
    return {name: copy_to_cpu(tensor) for name, tensor in named.items()}, rests


def copy_to_cpu(tensor: Tensor) -> Tensor:
    """Copy a tensor into CPU memory of its own."""
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def put_tensors(
    tensors: Mapping[str, Tensor],
    rests: Sequence[JsonObject],
    *,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
) -> None:
    """Load what `take_tensors` copied.

    Raises:
        ValueError: A weight is not finite, or model or optimizers are not those that were saved.
    """
    weights = select_prefix(tensors, "model.")
    check_finite(weights)
    load_weights(model, weights)
    if len(rests) != len(optimizers):
        raise ValueError(
            f"the checkpoint holds {len(rests)} optimizers, training uses {len(optimizers)}; "
            "set train.optimizer as it was"
        )
    for number, (optimizer, rest) in enumerate(zip(optimizers, rests, strict=True)):
        restore_optimizer(optimizer, select_prefix(tensors, f"optimizers.{number}."), rest)


def select_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Pick the tensors whose names start with `prefix`, which is cut off."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def save_checkpoint(
    model: nn.Module, optimizer: torch.optim.Optimizer, step: int, path: Path
) -> None:
    """Save weights, optimizer state and step to the folder `path` (CS336 A1, section 5.2)."""
    tensors, rests = take_tensors(model, [optimizer])
    write_checkpoint(path, Checkpoint(step=step, tensors=tensors, facts={"optimizers": rests}))


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load what `save_checkpoint` saved and return its step (CS336 A1, section 5.2)."""
    checkpoint = read_checkpoint(path)
    put_tensors(
        checkpoint.tensors, checkpoint.facts["optimizers"], model=model, optimizers=[optimizer]
    )
    return checkpoint.step


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load weights under plain names into a model that may be compiled."""
    state = model.state_dict()
    names = dict(zip(plain_state_dict(state), state, strict=True))
    plain = plain_state_dict(weights)
    try:
        model.load_state_dict({names.get(name, name): tensor for name, tensor in plain.items()})
    except RuntimeError as error:
        raise ValueError(f"the weights are those of another model: {error}") from error


def check_finite(weights: Mapping[str, Tensor]) -> None:
    """Refuse weights with NaN or infinity, naming the first such tensor."""
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise ValueError(
                f"{name} holds {bad} values that are not finite, out of {tensor.numel()}; "
                "take an earlier checkpoint, or train with a lower learning rate"
            )


def save_model(model_dir: Path, weights: Mapping[str, Tensor], config: ModelConfig) -> None:
    """Write `model.safetensors` and `config.json`, each whole or not at all."""
    model_dir.mkdir(parents=True, exist_ok=True)
    partial = model_dir / (PARTIAL_PREFIX + uuid.uuid4().hex)
    try:
        save_tensors({name: copy_to_cpu(tensor) for name, tensor in weights.items()}, partial)
        flush(partial)
        partial.replace(model_dir / MODEL_NAME)
    finally:
        partial.unlink(missing_ok=True)
    write_json(model_dir / CONFIG_NAME, asdict(config))


def load_config(model_dir: Path) -> ModelConfig:
    """Read the shape of a published model.

    Raises:
        ValueError: There is no readable `config.json`, or it is not that of a model.
    """
    path = model_dir / CONFIG_NAME
    try:
        return ModelConfig(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, RecursionError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not the configuration of a model: {error}") from error


def load_model(model_dir: Path, *, device: str | torch.device = "cpu") -> TransformerLM:
    """Load a published model, ready to evaluate.

    Raises:
        ValueError: A file is missing or damaged, of another shape, or holds NaN.
    """
    config = load_config(model_dir)
    try:
        weights = load_file(model_dir / MODEL_NAME)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{model_dir / MODEL_NAME} cannot be read: {error}") from error
    held, described = sum(map(Tensor.numel, weights.values())), num_parameters(config)
    if held != described:  # before memory is taken for what a stranger's file describes
        raise ValueError(
            f"the weights are those of another model: {model_dir / MODEL_NAME} holds {held} "
            f"numbers, {CONFIG_NAME} describes a model of {described}"
        )
    check_finite(weights)
    model = TransformerLM(config, generator=torch.Generator())  # torch's global one is not used
    load_weights(model, weights)
    return model.to(device).eval()
