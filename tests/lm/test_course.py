"""The course's tests pass through thin adapters, with its tolerances, against torch's results.

The course compares with stored tensors, which are not ours to copy; torch computes the same.
"""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from lm.model.attention import merge_heads, split_heads
from lm.optim.adamw import AdamW
from tests import course_adapters as course

D_MODEL, NUM_HEADS, D_FF, THETA, CONTEXT, VOCAB = 64, 4, 128, 10_000.0, 16, 100


def weights(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_layers() -> None:
    """Linear, embedding, SwiGLU, RMSNorm and SiLU within 1e-6 (SwiGLU 1e-5)."""
    x, matrix = weights(4, 12, D_MODEL), weights(D_FF, D_MODEL)
    close = torch.testing.assert_close
    close(course.run_linear(D_MODEL, D_FF, matrix, x), functional.linear(x, matrix))
    ids = torch.arange(6).view(2, 3)
    close(course.run_embedding(D_FF, D_MODEL, matrix, ids), functional.embedding(ids, matrix))
    w2, w3 = weights(D_MODEL, D_FF, seed=1), weights(D_FF, D_MODEL, seed=2)
    gated = functional.silu(functional.linear(x, matrix)) * functional.linear(x, w3)
    actual = course.run_swiglu(D_MODEL, D_FF, matrix, w2, w3, x)
    close(actual, functional.linear(gated, w2), rtol=0, atol=1e-5)
    gain = weights(D_MODEL)
    expected = functional.rms_norm(x, (D_MODEL,), gain, 1e-5)
    close(course.run_rmsnorm(D_MODEL, 1e-5, gain, x), expected, rtol=0, atol=1e-6)
    close(course.run_silu(x), functional.silu(x), rtol=0, atol=1e-6)


def test_attention() -> None:
    """Attention in three and four dimensions, with a mask, within 1e-6."""
    mask = torch.rand(12, 12, generator=torch.Generator().manual_seed(0)) > 0.5
    mask[:, 0] = True
    for leading in ((4,), (2, 2)):
        q, k, v = (weights(*leading, 12, D_MODEL, seed=seed) for seed in range(3))
        actual = course.run_scaled_dot_product_attention(q, k, v, mask)
        expected = functional.scaled_dot_product_attention(q, k, v, mask)
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("with_rope", [False, True])
def test_multihead_attention(with_rope: bool) -> None:
    """Multi-head attention, with and without RoPE at given positions, within 1e-6."""
    x = weights(4, 12, D_MODEL)
    q, k, v, o = (weights(D_MODEL, D_MODEL, seed=seed) for seed in range(4))
    positions = torch.arange(12)

    def heads(matrix: torch.Tensor) -> torch.Tensor:
        return split_heads(functional.linear(x, matrix), NUM_HEADS)

    def turned(y: torch.Tensor) -> torch.Tensor:
        return course.run_rope(D_MODEL // NUM_HEADS, THETA, CONTEXT, y, positions)

    queries, keys = (turned(heads(m)) if with_rope else heads(m) for m in (q, k))
    attended = functional.scaled_dot_product_attention(queries, keys, heads(v), is_causal=True)
    expected = functional.linear(merge_heads(attended), o)
    if with_rope:
        actual = course.run_multihead_self_attention_with_rope(
            D_MODEL, NUM_HEADS, CONTEXT, THETA, q, k, v, o, x, positions.unsqueeze(0)
        )
    else:
        actual = course.run_multihead_self_attention(D_MODEL, NUM_HEADS, q, k, v, o, x)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)


def block_weights() -> dict[str, torch.Tensor]:
    square = {f"attn.{n}_proj.weight": weights(D_MODEL, D_MODEL) for n in ("q", "k", "v", "output")}
    return square | {
        "ln1.weight": torch.ones(D_MODEL),
        "ln2.weight": torch.ones(D_MODEL),
        "ffn.w1.weight": weights(D_FF, D_MODEL),
        "ffn.w2.weight": weights(D_MODEL, D_FF),
        "ffn.w3.weight": weights(D_FF, D_MODEL),
    }


def test_block_and_model_take_the_courses_weights() -> None:
    """State dicts with the course's names load, and shorter inputs give a prefix."""
    state = block_weights()
    x = weights(4, CONTEXT, D_MODEL)
    output = course.run_transformer_block(D_MODEL, NUM_HEADS, D_FF, CONTEXT, THETA, state, x)
    assert output.shape == x.shape
    whole = {f"layers.{i}.{name}": tensor for i in range(2) for name, tensor in state.items()}
    whole |= {
        "token_embeddings.weight": weights(VOCAB, D_MODEL),
        "ln_final.weight": torch.ones(D_MODEL),
        "lm_head.weight": weights(VOCAB, D_MODEL),
    }
    shape = (VOCAB, CONTEXT, D_MODEL, 2, NUM_HEADS, D_FF, THETA)
    ids = torch.arange(4 * CONTEXT).view(4, CONTEXT) % VOCAB
    logits = course.run_transformer_lm(*shape, whole, ids)
    shorter = course.run_transformer_lm(*shape, whole, ids[:, : CONTEXT // 2])
    assert logits.shape == (4, CONTEXT, VOCAB)
    torch.testing.assert_close(shorter, logits[:, : CONTEXT // 2], rtol=1e-2, atol=1e-4)


def test_softmax_and_cross_entropy() -> None:
    """Equal to torch's, at large values too: softmax within 1e-6, cross-entropy within 1e-4."""
    x = weights(5, 8)
    for values in (x, x + 100):
        actual = course.run_softmax(values, dim=-1)
        torch.testing.assert_close(actual, functional.softmax(values, -1), rtol=0, atol=1e-6)
    targets = torch.tensor([1, 0, 2, 2, 4])
    for scale in (1, 1000):
        actual = course.run_cross_entropy(scale * x, targets)
        expected = functional.cross_entropy(scale * x, targets)
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4)


def test_gradient_clipping_skips_parameters_without_gradient() -> None:
    """Clipped as torch does, within 1e-6; a frozen parameter is left alone."""
    made = [torch.nn.Parameter(weights(5, 5, seed=seed)) for seed in range(6)]
    made[-1].requires_grad_(False)
    torch.autograd.backward(torch.cat([p.flatten() for p in made]).square().sum())
    others = copy.deepcopy(made)
    for parameter, other in zip(made, others, strict=True):
        other.grad = None if parameter.grad is None else parameter.grad.clone()
    course.run_gradient_clipping(made, 1e-2)
    torch.nn.utils.clip_grad_norm_([p for p in others if p.grad is not None], 1e-2)
    for parameter, other in zip(made[:-1], others[:-1], strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, rtol=0, atol=1e-6)


def test_adamw_equals_torchs() -> None:
    """A thousand steps on the course's problem end where torch's AdamW ends, within 1e-4."""

    def optimized(optimizer_class: type[torch.optim.Optimizer]) -> torch.Tensor:
        torch.manual_seed(42)
        model = torch.nn.Linear(3, 2, bias=False)
        optimizer = optimizer_class(
            model.parameters(),
            lr=1e-3,  # type: ignore[call-arg]  # AdamW's, not Optimizer's
            weight_decay=0.01,
            betas=(0.9, 0.999),
            eps=1e-8,
        )
        for _ in range(1000):
            optimizer.zero_grad()
            x = torch.rand(model.in_features)
            target = torch.tensor([x[0] + x[1], -x[2]])
            torch.autograd.backward((target - model(x)).square().sum())
            optimizer.step()
        return model.weight.detach()

    ours, theirs = optimized(course.get_adamw_cls()), optimized(torch.optim.AdamW)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_cosine_schedule() -> None:
    """Warm-up to 7, cosine to 21, then flat: ends and middle by hand."""
    rates = [course.run_get_lr_cosine_schedule(step, 1.0, 0.1, 7, 21) for step in range(25)]
    assert rates[:8] == pytest.approx([step / 7 for step in range(8)])
    assert rates[14] == pytest.approx(0.55)
    assert rates[21:] == pytest.approx([0.1] * 4)


def test_batches_are_uniform_windows() -> None:
    """Targets are inputs shifted by one; each start is drawn within 5 sigma of its share."""
    dataset = np.arange(0, 100)
    starts: list[int] = []
    for _ in range(1000):
        inputs, targets = course.run_get_batch(dataset, 32, 7, "cpu")
        torch.testing.assert_close(inputs + 1, targets)
        starts += inputs[:, 0].tolist()
    counts = np.bincount(starts, minlength=93)
    expected, sigma = 32_000 / 93, (32_000 * (1 / 93) * (1 - 1 / 93)) ** 0.5
    assert len(counts) == 93
    assert (abs(counts - expected) < 5 * sigma).all()


def test_checkpoints_round_trip(tmp_path: Path) -> None:
    """Weights, optimizer state and iteration come back as they were saved."""

    def make() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        model = torch.nn.Linear(3, 2)
        return model, AdamW(model.parameters(), lr=1e-3)

    model, optimizer = make()
    for _ in range(5):
        optimizer.zero_grad()
        torch.autograd.backward(model(torch.ones(3)).square().sum())
        optimizer.step()
    course.run_save_checkpoint(model, optimizer, 5, tmp_path / "checkpoint")
    other_model, other_optimizer = make()
    assert course.run_load_checkpoint(tmp_path / "checkpoint", other_model, other_optimizer) == 5
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(other_model.state_dict()[name], tensor, rtol=0, atol=0)
    ours, theirs = optimizer.state_dict()["state"], other_optimizer.state_dict()["state"]
    for index, state in ours.items():
        for name, value in state.items():
            torch.testing.assert_close(theirs[index][name], value, rtol=0, atol=0)


def test_tokenizer_is_trained_and_used(tmp_path: Path) -> None:
    """BPE training gives a vocabulary that the tokenizer encodes and decodes with."""
    text = "low low low lower lower widest widest newest newest newest<|endoftext|>low lower"
    path = tmp_path / "corpus.txt"
    path.write_text(text, encoding="utf-8")
    vocab, merges = course.run_train_bpe(path, 270, ["<|endoftext|>"])
    assert len(vocab) == 270
    tokenizer = course.get_tokenizer(vocab, merges, ["<|endoftext|>"])
    assert tokenizer.decode(tokenizer.encode(text)) == text
