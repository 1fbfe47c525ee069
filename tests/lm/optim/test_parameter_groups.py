"""Every parameter is updated by exactly one optimizer, with the right weight decay."""

import pytest
import torch

from lm.config import ModelConfig, TrainConfig
from lm.model.transformer import TransformerLM
from lm.optim.adamw import AdamW
from lm.optim.muon import Muon
from lm.optim.parameter_groups import build_optimizer, parameter_groups, set_learning_rates

CONFIG = ModelConfig(
    vocab_size=20, d_model=16, num_layers=2, num_heads=2, d_ff=32, qk_norm=True, value_residual=True
)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_groups_partition_the_parameters(optimizer: str) -> None:
    """Each parameter is in one group; gains and shares are not decayed."""
    model = TransformerLM(CONFIG)
    groups = parameter_groups(model, TrainConfig(optimizer=optimizer))  # type: ignore[arg-type]  # one of the Literal's
    members = [parameter for group in groups for parameter in group["params"]]
    assert {id(p) for p in members} == {id(p) for p in model.parameters()}
    assert len(members) == len(list(model.parameters()))
    for group in groups:
        assert all((p.dim() >= 2) == (group["weight_decay"] > 0) for p in group["params"])


def test_muon_gets_the_blocks_matrices_only() -> None:
    """Embeddings, head and gains stay with AdamW."""
    model = TransformerLM(CONFIG)
    groups = parameter_groups(model, TrainConfig(optimizer="muon"))
    by_muon = {id(p) for group in groups if group["kind"] == "muon" for p in group["params"]}
    names = {name for name, p in model.named_parameters() if id(p) in by_muon}
    assert len(names) == 2 * 7
    assert all((name.startswith("layers.") and "proj" in name) or ".w" in name for name in names)


def test_each_optimizer_is_built() -> None:
    """The config names the class."""
    model = TransformerLM(CONFIG)
    assert isinstance(build_optimizer(model, TrainConfig()), AdamW)
    assert isinstance(build_optimizer(model, TrainConfig(optimizer="muon")), Muon)


def test_rates_scale_with_each_groups_peak() -> None:
    """Half-way through warm-up each group has half of its own peak."""
    config = TrainConfig(optimizer="muon", warmup_steps=10)
    optimizer = build_optimizer(TransformerLM(CONFIG), config)
    assert set_learning_rates(optimizer, 5, config) == pytest.approx(1.5e-3)
    rates = {group["kind"]: group["lr"] for group in optimizer.param_groups}
    assert rates == pytest.approx({"adamw": 1.5e-3, "muon": 0.01})


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("fast", [False, True])
def test_one_batch_is_overfit(optimizer: str, fast: bool) -> None:
    """Thirty steps on one batch bring the loss from ln(V) to a third."""
    config = TrainConfig(optimizer=optimizer, warmup_steps=0, max_learning_rate=1e-2)  # type: ignore[arg-type]  # one of the Literal's
    model = TransformerLM(CONFIG, generator=torch.Generator().manual_seed(0))
    built = build_optimizer(model, config, fast=fast)
    ids = torch.randint(0, 20, (4, 17), generator=torch.Generator().manual_seed(1))
    losses = []
    for _ in range(30):
        logits = model(ids[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        built.zero_grad()
        torch.autograd.backward(loss)
        built.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 3
