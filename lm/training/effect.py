"""What a configuration makes of the same first batches: a variant that changes nothing is a bug.

An ablation that never took effect looks like a finding, "it makes no difference". So a sweep
compares the weights after three steps and the rates of the whole run before it trains anything.
"""

import hashlib
from dataclasses import dataclass

import torch

from lm.checkpoint.weights import copy_to_cpu
from lm.config import ModelConfig, TrainConfig
from lm.loss import TrainingLoss
from lm.model.transformer import TransformerLM
from lm.optim.clip import clip_gradients, gradient_norm
from lm.optim.parameter_groups import build_optimizer
from lm.optim.schedule import learning_rate

NUM_STEPS = 3
NUM_SEQUENCES = 2
MAX_LENGTH = 64
"""Tokens a sequence at most: enough for positions to matter, little enough for large models."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """What tells two configurations apart."""

    weights_sha256: str
    """Of names and values of all weights after three steps at the peak rate."""
    rates_sha256: str
    """Of the learning rates of all steps."""
    num_parameters: int


def training_effect(model_config: ModelConfig, train_config: TrainConfig) -> Effect:
    """Take three steps on fixed random tokens with the faithful modules, on the CPU."""
    model = TransformerLM(model_config, generator=torch.Generator().manual_seed(train_config.seed))
    loss = TrainingLoss(model, z_loss=train_config.z_loss)
    optimizer = build_optimizer(model, train_config, fast=False)
    generator = torch.Generator().manual_seed(0)
    length = min(MAX_LENGTH, model_config.context_length)
    for _ in range(NUM_STEPS):
        size = (NUM_SEQUENCES, length + 1)
        tokens = torch.randint(model_config.vocab_size, size, generator=generator)
        optimizer.zero_grad(set_to_none=True)
        loss(tokens[:, :-1], tokens[:, 1:]).total.backward()
        norm = gradient_norm(model.parameters())
        clip_gradients(model.parameters(), train_config.max_l2_norm, norm=norm)
        optimizer.step()
    return Effect(
        weights_sha256=_weights_hash(model),
        rates_sha256=_rates_hash(train_config),
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


def _weights_hash(model: TransformerLM) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(copy_to_cpu(tensor).numpy().tobytes())
    return digest.hexdigest()


def _rates_hash(config: TrainConfig) -> str:
    rates = [learning_rate(step, config) for step in range(config.max_steps)]
    return hashlib.sha256(repr(rates).encode()).hexdigest()
