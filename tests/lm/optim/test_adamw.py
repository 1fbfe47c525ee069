"""AdamW equals torch's over a thousand steps, faithful and fused."""

import copy

import pytest
import torch

from lm.optim.adamw import AdamW

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}
"""After 1,000 steps, in units of the parameters (about 1): a few roundings of the dtype."""


def problem(dtype: torch.dtype) -> tuple[list[torch.nn.Parameter], torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(6, 4, generator=generator, dtype=dtype)
    gain = torch.ones(4, dtype=dtype)
    return [torch.nn.Parameter(matrix), torch.nn.Parameter(gain)], torch.randn(
        32, 6, generator=generator, dtype=dtype
    )


def run(
    optimizer: torch.optim.Optimizer,
    parameters: list[torch.nn.Parameter],
    inputs: torch.Tensor,
    num_steps: int,
) -> None:
    """Minimise a small nonlinear problem with a changing rate."""
    for step in range(num_steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 / (1 + step / 100)
        batch = inputs[step % 4 :: 4]
        loss = (torch.tanh(batch @ parameters[0]) * parameters[1] - batch[:, :4]).square().mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("fused", [False, True])
def test_adamw_equals_torchs_over_1000_steps(dtype: torch.dtype, fused: bool) -> None:
    """Parameters and moments stay within rounding of torch.optim.AdamW's."""
    ours, inputs = problem(dtype)
    theirs, _ = problem(dtype)
    settings = {"betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}
    optimizer = AdamW(ours, 1e-2, fused=fused, **settings)  # type: ignore[arg-type]  # as torch's
    run(optimizer, ours, inputs, 1000)
    peer = torch.optim.AdamW(theirs, 1e-2, **settings)  # type: ignore[arg-type]  # as above
    run(peer, theirs, inputs, 1000)
    tolerance = TOLERANCE[dtype]
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their, rtol=tolerance, atol=tolerance)
        for name in ("exp_avg", "exp_avg_sq"):
            torch.testing.assert_close(
                optimizer.state[our][name], peer.state[their][name], rtol=1e-3, atol=tolerance
            )


def test_fused_continues_from_the_faithful_state() -> None:
    """The two updates share one state layout, so a checkpoint of one loads into the other."""
    ours, inputs = problem(torch.float64)
    faithful = AdamW(ours, 1e-2)
    run(faithful, ours, inputs, 20)
    others = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    fused = AdamW(others, 1e-2, fused=True)
    fused.load_state_dict(copy.deepcopy(faithful.state_dict()))
    run(faithful, ours, inputs, 20)
    run(fused, others, inputs, 20)
    for our, other in zip(ours, others, strict=True):
        torch.testing.assert_close(our, other, rtol=1e-12, atol=1e-12)


def test_two_runs_are_bit_identical() -> None:
    """The same problem gives the same bits."""
    results = []
    for _ in range(2):
        parameters, inputs = problem(torch.float32)
        run(AdamW(parameters, 1e-2, fused=True), parameters, inputs, 50)
        results.append(parameters[0].detach().clone())
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


def test_it_converges_on_the_courses_toy_problem() -> None:
    """AdamW minimises a least-squares problem."""
    weight = torch.nn.Parameter(torch.full((3, 2), 5.0))
    target = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    optimizer = AdamW([weight], lr=0.1, weight_decay=0.0)
    for _ in range(500):
        optimizer.zero_grad()
        torch.autograd.backward((weight - target).square().sum())
        optimizer.step()
    torch.testing.assert_close(weight.detach(), target, rtol=0, atol=1e-2)


def test_parameters_without_a_gradient_stay() -> None:
    """A parameter that took no part is neither moved nor decayed."""
    used, unused = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    optimizer = AdamW([used, unused], 0.1)
    torch.autograd.backward(used.sum())
    optimizer.step()
    assert float(unused[0].detach()) == 1.0
    assert float(used[0].detach()) < 1.0


def test_the_closure_is_called_once() -> None:
    """A closure's loss is returned."""
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = AdamW([weight])
    assert optimizer.step(lambda: 3.0) == 3.0


def test_negative_rates_are_refused() -> None:
    """A negative rate would climb."""
    with pytest.raises(ValueError, match=r"lr \(-1.0\) must be at least 0"):
        AdamW([torch.nn.Parameter(torch.ones(1))], -1.0)


def test_the_defaults_are_torchs() -> None:
    """Those that both have."""
    ours = AdamW([torch.nn.Parameter(torch.zeros(1))]).defaults
    theirs = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))]).defaults
    names = ("lr", "betas", "eps", "weight_decay")
    assert [ours[name] for name in names] == [theirs[name] for name in names]
