"""The update that never asks the host equals the one that does, and a skipped one does nothing."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from lm.config import ModelConfig, TrainConfig
from lm.model.transformer import TransformerLM
from lm.optim.clip import clip_factor, clip_gradients, gradient_norm
from lm.optim.device_update import move_average, update_unless
from lm.optim.muon import orthogonalize
from lm.optim.parameter_groups import build_optimizer
from lm.optim.stacked_muon import orthogonalize_stack

SHAPE = ModelConfig(
    vocab_size=40, context_length=8, d_model=16, num_layers=1, num_heads=2, d_ff=48, qk_norm=True
)
"""One layer, so that of one shape there is a single matrix."""


def random_gradients(model: nn.Module, seed: int) -> None:
    """Fill the gradients with numbers that need clipping."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def model_and_optimizer(name: str) -> tuple[TransformerLM, torch.optim.Optimizer]:
    """Return a model and the fast optimizer of this name."""
    model = TransformerLM(SHAPE, generator=torch.Generator().manual_seed(0))
    config = TrainConfig(optimizer="muon" if name == "muon" else "adamw")
    return model, build_optimizer(model, config)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_three_updates_equal_those_of_the_host(name: str) -> None:
    """Clipped updates on the device and by the host lead to the same weights within rounding."""
    (ours, device_optimizer), (theirs, host_optimizer) = (
        model_and_optimizer(name) for _ in range(2)
    )
    for step in range(3):
        random_gradients(ours, step)
        random_gradients(theirs, step)
        clip_gradients(theirs.parameters(), 1.0)
        host_optimizer.step()
        factor = clip_factor(gradient_norm(ours.parameters()), 1.0)
        rates = [group["lr"] for group in device_optimizer.param_groups]
        update_unless(device_optimizer, torch.tensor(False), factor=factor, rates=rates)
    tolerance = 2e-3 if name == "muon" else 1e-6  # Muon's products are bf16
    for left, right in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_skipped_update_changes_nothing_whatever_the_gradients(name: str) -> None:
    """Gradients of NaN leave weights, moments and step counts as they were."""
    model, optimizer = model_and_optimizer(name)
    random_gradients(model, 0)
    rates = [group["lr"] for group in optimizer.param_groups]
    one = torch.ones(())
    update_unless(optimizer, torch.tensor(False), factor=one, rates=rates)
    weights, state = deepcopy(model.state_dict()), deepcopy(optimizer.state_dict()["state"])
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, torch.nan)
    update_unless(optimizer, torch.tensor(True), factor=one * torch.nan, rates=rates)
    assert all(torch.equal(weights[key], value) for key, value in model.state_dict().items())
    after = optimizer.state_dict()["state"]
    assert all(torch.equal(state[i][k], after[i][k]) for i in state for k in state[i])


def test_rates_may_be_values_on_the_device() -> None:
    """A rate in a tensor, as a CUDA graph needs it, gives the update of the same number."""
    results = []
    as_number: Callable[[float], float | Tensor] = float
    for wrap in (as_number, torch.tensor):
        model, optimizer = model_and_optimizer("muon")
        random_gradients(model, 0)
        rates = [wrap(group["lr"]) for group in optimizer.param_groups]
        update_unless(optimizer, torch.tensor(False), factor=torch.ones(()), rates=rates)
        results.append([parameter.detach() for parameter in model.parameters()])
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=1e-7)


@pytest.mark.parametrize("shape", [(16, 16), (16, 48), (48, 16)])
def test_a_stack_is_orthogonalized_as_its_matrices_are(shape: tuple[int, int]) -> None:
    """In float64 the batched products give the results of the single ones."""
    stack = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0)).double()
    expected = torch.stack([orthogonalize(matrix, dtype=torch.float64) for matrix in stack])
    found = orthogonalize_stack(stack, dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert not orthogonalize_stack(torch.zeros(2, *shape)).any()


def test_the_average_moves_by_the_number_of_updates() -> None:
    """Update t keeps (1 + t) / (10 + t), at most the given decay; a skipped step keeps all."""
    for num_updates, kept in ((0, 0.1), (5, 0.4), (1000, 0.9)):
        averages, weights = [torch.zeros(3)], [torch.ones(3)]
        for skip in (True, False):
            move_average(
                averages,
                weights,
                torch.tensor(skip),
                num_updates=torch.tensor(num_updates),
                max_decay=0.9,
            )
            expected = torch.full((3,), 0.0 if skip else 1 - kept)
            torch.testing.assert_close(averages[0], expected)
