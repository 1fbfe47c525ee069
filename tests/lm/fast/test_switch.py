"""The fast path equals the faithful one in value and gradient, within the dtype's rounding."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from lm.config import ModelConfig, Precision, RunOptions, TrainConfig
from lm.fast.switch import FAST, use_kernels
from lm.loss import token_losses
from lm.machine.probe import Plan, choose_plan, has_compiler
from lm.model.kernels import FAITHFUL
from lm.model.transformer import TransformerLM
from lm.training.step.compiled import build_loss, compile_loss

SHAPE: dict[str, Any] = {
    "vocab_size": 60,
    "context_length": 24,
    "d_model": 32,
    "num_layers": 2,
    "num_heads": 4,
    "d_ff": 48,
}
VARIANTS: list[dict[str, Any]] = [
    {},
    {"norm": "post", "position": "none", "ffn": "relu2"},
    {"norm": "none", "ffn": "silu", "tie_embeddings": True},
    {"num_kv_heads": 2, "qk_norm": True, "value_residual": True, "logit_softcap": 5.0},
]
TOLERANCE = {torch.float64: 1e-6, torch.float32: 2e-5}  # RoPE's tables are float32 in both
"""Relative to the largest entry of each gradient: a few hundred roundings add up in each."""


def batch(length: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(0, 60, (3, length + 1), generator=torch.Generator().manual_seed(1))
    return ids[:, :-1], ids[:, 1:]


def build(**changes: Any) -> TransformerLM:
    config = ModelConfig(**{**SHAPE, **changes})
    return TransformerLM(config, generator=torch.Generator().manual_seed(0))


def plan(**changes: Any) -> Plan:
    chosen = choose_plan(
        ModelConfig(**SHAPE), TrainConfig(batch_size=3), RunOptions(device="cpu", compile="off")
    )
    return replace(chosen, **{"attention": "sdpa", **changes})


def loss_and_gradients(
    model: TransformerLM, chosen: Plan, precision: Precision = "fp32", z_loss: float = 0.0
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    loss = build_loss(model, chosen, precision=precision, z_loss=z_loss)
    result = compile_loss(loss, chosen)(*batch(model.config.context_length))
    model.zero_grad()
    torch.autograd.backward(result.total)
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return result.total.detach(), gradients


def assert_gradients_close(
    actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], tolerance: float
) -> None:
    assert actual.keys() == expected.keys()
    for name, gradient in expected.items():
        limit = tolerance * float(gradient.abs().max())
        torch.testing.assert_close(actual[name], gradient, rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("changes", VARIANTS, ids=str)
@pytest.mark.parametrize("z_loss", [0.0, 0.01])
def test_fast_equals_faithful(dtype: torch.dtype, changes: dict[str, Any], z_loss: float) -> None:
    """Loss and every gradient agree for every option of the model and every attention."""
    model = build(**changes).to(dtype)
    faithful = plan(fast=False, attention="math")
    expected, gradients = loss_and_gradients(model, faithful, z_loss=z_loss)
    for choices in (
        {"attention": "sdpa"},
        {"attention": "math"},
        {"products": "joined", "loss_form": "whole"},
        {"products": "joined", "loss_form": "loop", "loss_chunk": 20},
    ):
        chosen = plan(fast=True, **choices)
        total, fast_gradients = loss_and_gradients(model, chosen, z_loss=z_loss)
        torch.testing.assert_close(total, expected, rtol=TOLERANCE[dtype], atol=0)
        assert_gradients_close(fast_gradients, gradients, TOLERANCE[dtype])


@pytest.mark.parametrize("fast", [False, True])
def test_bf16_stays_near_fp32(fast: bool) -> None:
    """bf16 autocast moves the loss by less than 1 % and leaves weights and gradients fp32."""
    model = build()
    expected, gradients = loss_and_gradients(model, plan(fast=False))
    total, narrow = loss_and_gradients(model, plan(fast=fast), precision="bf16")
    torch.testing.assert_close(total, expected, rtol=1e-2, atol=0)
    assert_gradients_close(narrow, gradients, 0.05)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert {g.dtype for g in narrow.values()} == {torch.float32}


def test_z_loss_changes_the_objective_and_not_the_reported_loss() -> None:
    """The z-loss is added to what is differentiated; the cross-entropy stays what it was."""
    model = build()
    for fast in (False, True):
        plain = build_loss(model, plan(fast=fast), precision="fp32")(*batch())
        with_z = build_loss(model, plan(fast=fast), precision="fp32", z_loss=0.01)(*batch())
        assert float(with_z.total.detach()) > float(plain.total.detach()) + 0.01
        torch.testing.assert_close(with_z.cross_entropy, plain.cross_entropy)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_token_losses_average_to_the_training_loss(precision: Precision) -> None:
    """The losses of the positions, fast or faithful, have the training loss as their mean."""
    model = build()
    inputs, targets = batch()
    expected = build_loss(model, plan(fast=True), precision=precision)(inputs, targets)
    for fast in (False, True):
        losses = token_losses(model, inputs, targets, precision=precision, fast=fast)
        assert losses.shape == targets.shape
        torch.testing.assert_close(losses.mean(), expected.cross_entropy, rtol=5e-3, atol=0)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("form", ["unrolled", "whole"])
def test_model_and_loss_are_one_graph(form: str) -> None:
    """Forward and backward are traced whole, with every option that changes the code."""
    model = build(qk_norm=True, num_kv_heads=2, value_residual=True, logit_softcap=5.0)
    chosen = plan(fast=True, products="joined", loss_form=form)
    loss = build_loss(model, chosen, precision="bf16", z_loss=0.01)
    traced = torch.compile(loss, backend="aot_eager", fullgraph=True, dynamic=False)
    torch.autograd.backward(traced(*batch()).total)
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_switch_reaches_every_layer() -> None:
    """No layer is left on the other path."""
    model = build()
    for kernels in (FAST, FAITHFUL):
        use_kernels(model, kernels)
        used = {id(m.kernels) for m in model.modules() if hasattr(m, "kernels")}
        assert used == {id(kernels)}


# torch 2.13's own compiler uses parts of torch that it calls deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.skipif(not has_compiler("cpu"), reason="no C++ compiler")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiled_equals_eager(precision: Precision, caplog: pytest.LogCaptureFixture) -> None:
    """Compilation changes loss and gradients within rounding only, and does not fall back."""
    # 200 positions are two blocks of attention.
    model = build(qk_norm=True, num_kv_heads=2, logit_softcap=5.0, context_length=200)
    expected, gradients = loss_and_gradients(model, plan(fast=True), precision)
    chosen = plan(fast=True, compile=True, attention="blocked")
    total, compiled = loss_and_gradients(model, chosen, precision)
    assert "torch.compile failed" not in caplog.text
    tolerance = 2e-5 if precision == "fp32" else 0.03
    torch.testing.assert_close(total, expected, rtol=tolerance, atol=0)
    assert_gradients_close(compiled, gradients, tolerance)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_a_failing_compiler_means_eager_with_one_warning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where compilation fails, the loss is computed all the same, and the log says so once."""
    from torch._dynamo.exc import TorchDynamoException

    def fail(*_arguments: object, **_options: object) -> object:
        def compiled(*_inputs: object) -> None:
            raise TorchDynamoException("no working compiler")

        return compiled

    monkeypatch.setattr(torch, "compile", fail)
    model = build()
    expected, _ = loss_and_gradients(model, plan(fast=True))
    loss = compile_loss(build_loss(model, plan(fast=True), precision="fp32"), plan(compile=True))
    for _ in range(2):
        torch.testing.assert_close(loss(*batch()).total.detach(), expected)
    assert [record.message for record in caplog.records] == [
        "torch.compile failed, running eagerly, slower: no working compiler"
    ]
