"""Parameters and FLOPs equal what torch counts; memory is near what autograd keeps."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lm.accounting.flops import (
    TRAINING_TO_FORWARD,
    forward_flops,
    optimizer_flops,
    training_flops_per_token,
)
from lm.accounting.memory import (
    activation_bytes_per_sequence,
    largest_loss_chunk,
    largest_micro_batch,
    optimizer_bytes,
    training_memory,
)
from lm.accounting.parameters import num_parameters, parameters_by_component
from lm.config import ModelConfig, Precision, RunOptions, TrainConfig
from lm.machine.probe import choose_plan
from lm.model.transformer import TransformerLM
from lm.optim.parameter_groups import build_optimizer
from lm.training.step.compiled import build_loss

SHAPE: dict[str, Any] = {
    "vocab_size": 300,
    "context_length": 64,
    "d_model": 64,
    "num_layers": 3,
    "num_heads": 4,
    "d_ff": 160,
}
VARIANTS: list[dict[str, Any]] = [
    {},
    {"norm": "post", "ffn": "silu"},
    {"norm": "none", "ffn": "relu2", "position": "none"},
    {"num_kv_heads": 2, "qk_norm": True},
    {"tie_embeddings": True, "value_residual": True},
]


def config(**changes: Any) -> ModelConfig:
    return ModelConfig(**{**SHAPE, **changes})


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_parameters_are_exact(changes: dict[str, Any]) -> None:
    """The count equals the sum over the model's parameters, for every option."""
    model = TransformerLM(config(**changes))
    assert num_parameters(model.config) == sum(p.numel() for p in model.parameters())


def test_the_courses_model_has_22_7_million_parameters() -> None:
    """The default shape has 22,696,448 parameters, 10,240,000 of them at both ends."""
    assert num_parameters(ModelConfig()) == 22_696_448
    parts = parameters_by_component(ModelConfig())
    assert parts["token_embeddings"] == parts["lm_head"] == 5_120_000


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
@pytest.mark.parametrize("seq_length", [64, 17])
def test_flops_equal_torchs_counter(changes: dict[str, Any], seq_length: int) -> None:
    """Forward and training FLOPs equal torch's flop counter on the faithful path."""
    model = TransformerLM(config(**changes))
    ids = torch.zeros(2, seq_length, dtype=torch.long)
    with FlopCounterMode(display=False) as forward:
        logits = model(ids)
    counted = forward_flops(model.config, batch_size=2, seq_length=seq_length)
    assert sum(counted.values()) == forward.get_total_flops()
    with FlopCounterMode(display=False) as backward:
        torch.autograd.backward(logits.sum())
    trained = TRAINING_TO_FORWARD * sum(counted.values())
    assert trained == forward.get_total_flops() + backward.get_total_flops()


def test_flops_per_token_of_the_courses_model() -> None:
    """By hand: 6 x 17,563,648 matrix parameters and 12 x 4 layers x 256 x 512 for attention."""
    matrices = 4 * (4 * 512 * 512 + 3 * 512 * 1344) + 512 * 10_000
    assert training_flops_per_token(ModelConfig()) == 6 * matrices + 12 * 4 * 256 * 512


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_muons_products_equal_torchs_counter(changes: dict[str, Any]) -> None:
    """All but 14 FLOPs for each parameter of AdamW are products that torch counts in one step."""
    model = TransformerLM(config(**changes))
    built = build_optimizer(model, TrainConfig(optimizer="muon"))
    torch.autograd.backward(model(torch.zeros(1, 4, dtype=torch.long)).sum())
    with FlopCounterMode(display=False) as counter:
        built.step()
    groups = [group for group in built.param_groups if group["kind"] == "adamw"]
    by_adamw = sum(p.numel() for group in groups for p in group["params"])
    expected = counter.get_total_flops() + 14 * by_adamw
    assert optimizer_flops(model.config, optimizer="muon") == expected


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_optimizer_state_is_exact(optimizer: str) -> None:
    """The predicted state equals the moments that the optimizer holds after a step."""
    model = TransformerLM(config(qk_norm=True, value_residual=True))
    built = build_optimizer(model, TrainConfig(optimizer=optimizer))  # type: ignore[arg-type]  # one of the Literal's
    torch.autograd.backward(model(torch.zeros(1, 4, dtype=torch.long)).sum())
    built.step()
    held = sum(
        value.numel() * value.element_size()
        for state in built.state.values()
        for name, value in state.items()
        if name != "step"
    )
    assert optimizer_bytes(model.config, optimizer=optimizer) == held


def saved_bytes(model: TransformerLM, precision: Precision, batch_size: int) -> int:
    """Return the bytes of the distinct tensors that autograd keeps, weights apart."""
    own = [*model.parameters(), *model.buffers()]
    known = {tensor.untyped_storage().data_ptr() for tensor in own}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        address = tensor.untyped_storage().data_ptr()
        if address not in known:
            kept[address] = tensor  # held, so that no address is used twice
        return tensor

    options = RunOptions(device="cpu", compile="off", attention="sdpa")
    plan = choose_plan(model.config, TrainConfig(), options)
    loss = build_loss(model, plan, precision=precision)
    ids = torch.zeros(batch_size, model.config.context_length, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = loss(ids, ids)
    size = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    del result
    return size


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_activations_are_near_what_autograd_keeps(
    changes: dict[str, Any], precision: Precision
) -> None:
    """What a longer batch keeps more of is predicted to 15 %, the default shape to 2 %."""
    model = TransformerLM(config(**changes))
    grown = saved_bytes(model, precision, 6) - saved_bytes(model, precision, 2)
    predicted = 4 * activation_bytes_per_sequence(model.config, precision=precision)
    assert predicted == pytest.approx(grown, rel=0.15 if changes else 0.02)


def test_memory_grows_with_the_micro_batch_only_in_activations() -> None:
    """Weights, gradients and optimizer state do not depend on the batch."""
    small, large = (training_memory(ModelConfig(), micro_batch_size=size) for size in (8, 16))
    assert large["activations"] == 2 * small["activations"]
    same = ("weights", "gradients", "optimizer", "loss")
    assert all(small[name] == large[name] for name in same)
    assert small["optimizer"] == 2 * small["weights"]


def test_the_largest_micro_batch_divides_the_batch_and_fits() -> None:
    """It is the largest divisor whose predicted peak fits, and 1 if none does."""
    shape = ModelConfig()
    limit = sum(training_memory(shape, micro_batch_size=9).values())
    assert largest_micro_batch(shape, free_bytes=limit, batch_size=24) == 8
    assert largest_micro_batch(shape, free_bytes=0, batch_size=24) == 1
    assert largest_micro_batch(replace(shape, num_layers=1), free_bytes=2**40, batch_size=24) == 24


def test_the_largest_loss_chunk_is_what_memory_allows() -> None:
    """All positions where their logits fit, else a half or a quarter, at least a CPU's chunk."""
    config = ModelConfig()
    positions = 128 * config.context_length
    whole = sum(training_memory(config, micro_batch_size=128, loss_chunk=positions).values())
    sizes = [
        largest_loss_chunk(config, free_bytes=free_bytes, micro_batch_size=128)
        for free_bytes in (whole, whole - 1, 0)
    ]
    assert sizes == [positions, positions // 2, 512]
