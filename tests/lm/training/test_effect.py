"""Tests of `lm/training/effect.py`."""

from dataclasses import replace
from typing import Any

import pytest

from lm.accounting.parameters import num_parameters
from lm.config import ModelConfig, TrainConfig
from lm.training.effect import training_effect

MODEL = ModelConfig(
    vocab_size=50, context_length=16, d_model=16, num_layers=1, num_heads=2, d_ff=32
)
TRAIN = TrainConfig(max_steps=20, warmup_steps=2)


@pytest.mark.parametrize(
    "change",
    [
        {"norm": "none"},
        {"norm": "post"},
        {"position": "none"},
        {"ffn": "silu"},
        {"qk_norm": True},
        {"tie_embeddings": True},
    ],
    ids=str,
)
def test_every_ablation_changes_the_weights_after_three_steps(change: dict[str, Any]) -> None:
    """A variant that never took effect would be found out; so would one of another size."""
    changed = replace(MODEL, **change)
    effect = training_effect(changed, TRAIN)
    assert effect.weights_sha256 != training_effect(MODEL, TRAIN).weights_sha256
    assert effect.num_parameters == num_parameters(changed)


def test_the_same_configuration_has_the_same_effect() -> None:
    """Nothing but the configuration decides."""
    assert training_effect(MODEL, TRAIN) == training_effect(MODEL, TRAIN)


def test_schedules_differ_in_the_rates_of_the_whole_run() -> None:
    """Their first three steps may be the same, so the weights tell nothing."""
    cosine = training_effect(MODEL, TRAIN)
    linear = training_effect(MODEL, replace(TRAIN, schedule="linear"))
    assert cosine.weights_sha256 == linear.weights_sha256
    assert cosine.rates_sha256 != linear.rates_sha256


def test_optimizer_and_decay_have_an_effect() -> None:
    """Of what is not the model's shape, too."""
    changes: list[dict[str, Any]] = [{"optimizer": "muon"}, {"weight_decay": 0.2}]
    effects = [training_effect(MODEL, replace(TRAIN, **change)) for change in changes]
    found = {effect.weights_sha256 for effect in [training_effect(MODEL, TRAIN), *effects]}
    assert len(found) == 3
