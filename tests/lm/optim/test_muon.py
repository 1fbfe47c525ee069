"""Muon equals torch.optim.Muon and orthogonalises."""

import pytest
import torch

from lm.optim.muon import Muon, orthogonalize


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(16, 16), (16, 48), (48, 16)])
def test_orthogonalized_matrices_have_singular_values_near_one(shape: tuple[int, int]) -> None:
    """Five steps bring the singular values to between 0.6 and 1.3, signs and vectors kept."""
    matrix = torch.randn(shape, generator=seeded(), dtype=torch.float64)
    result = orthogonalize(matrix, dtype=torch.float64)
    singular = torch.linalg.svdvals(result)
    assert float(singular.min()) > 0.6
    assert float(singular.max()) < 1.3
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    assert float((u.T @ result @ vh.T).diagonal().min()) > 0.6


def test_a_zero_gradient_gives_a_zero_update() -> None:
    """Nothing divides by a zero norm."""
    assert not orthogonalize(torch.zeros(4, 6)).any()


@pytest.mark.parametrize("shape", [(16, 16), (16, 48), (48, 16)])
def test_muon_equals_torchs(shape: tuple[int, int]) -> None:
    """Twenty steps with momentum, decay and scale equal torch.optim.Muon's (bf16 inside)."""
    start = torch.randn(shape, generator=seeded())
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    optimizer = Muon(
        [{"params": [ours], "kind": "muon", "lr": 0.02, "momentum": 0.95, "weight_decay": 0.1}]
    )
    peer = torch.optim.Muon([theirs], lr=0.02, momentum=0.95, weight_decay=0.1)
    generator = seeded(1)
    for _ in range(20):
        gradient = torch.randn(shape, generator=generator)
        ours.grad, theirs.grad = gradient, gradient.clone()
        optimizer.step()
        peer.step()  # type: ignore[no-untyped-call]  # torch's
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_adamw_groups_are_updated_by_adamw() -> None:
    """A group of kind adamw moves as torch's AdamW moves it."""
    start = torch.randn(5, generator=seeded())
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    group = {"betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.0, "lr": 0.1}
    optimizer = Muon([{"params": [ours], "kind": "adamw", **group}])
    peer = torch.optim.AdamW([theirs], **group)  # type: ignore[arg-type]  # the same names
    for _ in range(5):
        ours.grad, theirs.grad = torch.ones(5), torch.ones(5)
        optimizer.step()
        peer.step()
    torch.testing.assert_close(ours, theirs)


def test_a_closure_s_loss_is_returned() -> None:
    """As with torch's optimizers, `step` computes the loss again and returns it."""
    parameter = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = Muon(
        [{"params": [parameter], "kind": "muon", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0}]
    )

    def closure() -> float:
        loss = parameter.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        return float(loss.detach())

    assert optimizer.step(closure) == 4.0
    assert not torch.equal(parameter, torch.ones(2, 2))
