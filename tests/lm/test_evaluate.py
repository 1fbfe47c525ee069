"""Tests of `lm/evaluate.py`."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lm.checkpoint.weights import save_model
from lm.config import EvaluateConfig, ModelConfig, RunOptions
from lm.evaluate import Evaluation, evaluate_model
from lm.model.functional import token_cross_entropy
from lm.model.transformer import TransformerLM

TINY = ModelConfig(vocab_size=40, context_length=16, d_model=32, num_layers=2, num_heads=2, d_ff=64)
CPU = RunOptions(device="cpu")
NUM_TOKENS = 16 * 10 + 6  # ten whole windows, and five predictions in the last


@pytest.fixture
def model(tmp_path: Path) -> TransformerLM:
    """A model with random weights, published in `tmp_path`."""
    model = TransformerLM(TINY, generator=torch.Generator().manual_seed(1))
    save_model(tmp_path, model.state_dict(), TINY)
    return model


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """Random tokens in two shards."""
    tokens = np.random.default_rng(0).integers(0, 40, NUM_TOKENS).astype(np.uint16)
    for name, part in (("a", tokens[:50]), ("b", tokens[50:])):
        np.save(tmp_path / f"{name}.npy", part)
    return [tmp_path / "a.npy", tmp_path / "b.npy"]


def all_losses(model: TransformerLM, shards: list[Path], context_length: int) -> list[Tensor]:
    """Compute the loss of each token, window by window, the plain way."""
    tokens = torch.from_numpy(np.concatenate([np.load(path) for path in shards]).astype(np.int64))
    starts = range(0, len(tokens) - 1, context_length)
    windows = [tokens[start : start + context_length + 1] for start in starts]
    with torch.no_grad():
        return [token_cross_entropy(model(window[:-1]), window[1:]) for window in windows]


def evaluate(tmp_path: Path, shards: list[Path], config: EvaluateConfig) -> Evaluation:
    """Evaluate the published model without sizes of tokens."""
    return evaluate_model(tmp_path, shards, config=config, options=CPU)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("context_length", [0, 7])
def test_every_token_but_the_first_is_predicted_once(
    tmp_path: Path, model: TransformerLM, shards: list[Path], batch_size: int, context_length: int
) -> None:
    """Loss and loss by position are those of the plain loop, whatever the batch."""
    config = EvaluateConfig(batch_size=batch_size, context_length=context_length)
    result = evaluate(tmp_path, shards, config)
    losses = all_losses(model, shards, context_length or 16)
    joined = torch.cat(losses).double()
    assert result.num_tokens == NUM_TOKENS - 1 == len(joined)
    assert result.loss == pytest.approx(float(joined.mean()), rel=1e-6)
    assert result.perplexity == pytest.approx(math.exp(result.loss))
    assert len(result.loss_by_position) == result.context_length == (context_length or 16)
    first = float(torch.stack([window[0] for window in losses]).double().mean())
    assert result.loss_by_position[0] == pytest.approx(first, rel=1e-6)


def test_bits_per_byte_follow_from_the_bytes_of_the_predicted_tokens(
    tmp_path: Path, model: TransformerLM, shards: list[Path]
) -> None:
    """Total nats over ln 2 and all bytes but those of the first token."""
    sizes = np.arange(1, 41, dtype=np.int64)
    result = evaluate_model(
        tmp_path, shards, config=EvaluateConfig(), options=CPU, token_num_bytes=sizes
    )
    tokens = np.concatenate([np.load(path) for path in shards])
    num_bytes = int(sizes[tokens[1:]].sum())
    total = float(torch.cat(all_losses(model, shards, 16)).double().sum())
    assert result.num_bytes == num_bytes
    assert result.bits_per_byte == pytest.approx(total / math.log(2) / num_bytes, rel=1e-6)


def test_the_standard_error_is_that_of_window_means(
    tmp_path: Path, model: TransformerLM, shards: list[Path]
) -> None:
    """With equal windows it is the textbook error of the mean over windows."""
    tokens = np.concatenate([np.load(path) for path in shards])[: 16 * 10 + 1]
    np.save(tmp_path / "whole.npy", tokens)
    result = evaluate(tmp_path, [tmp_path / "whole.npy"], EvaluateConfig())
    means = torch.stack([w.mean() for w in all_losses(model, [tmp_path / "whole.npy"], 16)])
    expected = float(means.double().std() / math.sqrt(10))
    assert result.standard_error == pytest.approx(expected, rel=1e-5)


def test_the_same_evaluation_gives_the_same_numbers(
    tmp_path: Path, model: TransformerLM, shards: list[Path]
) -> None:
    """Fixed order: two runs agree bit for bit; the faithful path agrees within fp32."""
    first = evaluate(tmp_path, shards, EvaluateConfig())
    assert evaluate(tmp_path, shards, EvaluateConfig()) == first
    options = replace(CPU, fast=False)
    faithful = evaluate_model(tmp_path, shards, config=EvaluateConfig(), options=options)
    assert faithful.loss == pytest.approx(first.loss, rel=1e-6)
    assert model.config == TINY


def test_progress_reaches_the_number_of_predicted_tokens(
    tmp_path: Path, model: TransformerLM, shards: list[Path]
) -> None:
    """The callback ends at (all, all)."""
    calls: list[tuple[int, int]] = []
    evaluate_model(
        tmp_path,
        shards,
        config=EvaluateConfig(batch_size=4),
        options=CPU,
        on_progress=lambda done, total: calls.append((done, total)),
    )
    assert calls[-1] == (NUM_TOKENS - 1, NUM_TOKENS - 1)
    assert model.config == TINY


def test_what_does_not_fit_the_model_is_refused(
    tmp_path: Path, model: TransformerLM, shards: list[Path]
) -> None:
    """Too long a context, too few sizes, unknown ids, a single token: one clear error each."""
    assert model.config == TINY
    with pytest.raises(ValueError, match=r"context_length \(17\) must be at most"):
        evaluate(tmp_path, shards, EvaluateConfig(context_length=17))
    with pytest.raises(ValueError, match=r"token_num_bytes \(3\)"):
        evaluate_model(
            tmp_path,
            shards,
            config=EvaluateConfig(),
            options=CPU,
            token_num_bytes=np.ones(3, dtype=np.int64),
        )
    for name, tokens, message in (("x", [1, 40], "token id 40"), ("y", [1], "needs two")):
        np.save(tmp_path / f"{name}.npy", np.array(tokens, dtype=np.uint16))
        with pytest.raises(ValueError, match=message):
            evaluate(tmp_path, [tmp_path / f"{name}.npy"], EvaluateConfig())
