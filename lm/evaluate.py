"""Evaluation on every token of a split, in fixed order and at a fixed context.

The stream is cut into windows of `context_length` inputs, one after the other; the targets are
the next tokens, so that every token but the first is predicted exactly once. The first position
of a window is predicted from a single token; `loss_by_position` shows what that costs.
Legend: B windows, T positions.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from lm.checkpoint.weights import load_model
from lm.config import EvaluateConfig, ModelConfig, Precision, RunOptions, TrainConfig
from lm.data.loss_groups import LossGroup, LossSums
from lm.data.shards import TokenShards, check_token_ids, open_shards, read_windows, release_pages
from lm.experiment_statistics import cluster_standard_error
from lm.fast.switch import use_plan
from lm.loss import UNCOMPILED_CHUNK, token_losses
from lm.machine.backend import planned_backend
from lm.machine.probe import Plan, choose_plan
from lm.model.transformer import TransformerLM


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Results over all predicted tokens; losses in nats a token."""

    loss: float
    """Mean of -log p(token)."""
    perplexity: float
    """exp(loss)."""
    bits_per_byte: float | None
    """Total surprise in bits over the bytes of the predicted tokens; None without their sizes."""
    num_tokens: int
    """Predicted tokens: all but the first."""
    num_bytes: int | None
    """Bytes of the predicted tokens, special tokens counted as their text."""
    standard_error: float | None
    """Standard error of `loss`, windows being independent clusters; None for a single window."""
    loss_by_position: tuple[float, ...]
    """Mean loss at each position of a window; position t has seen t + 1 tokens."""
    context_length: int
    """Positions of a window."""
    standard_error_over_documents: float | None = None
    """Standard error of `loss`, documents being the clusters; None for a single document."""
    loss_by_document_length: tuple[LossGroup, ...] = ()
    """By the tokens of the document."""
    loss_by_token_count: tuple[LossGroup, ...] = ()
    """By how often the predicted token occurs in the training text."""


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """What losses are grouped by, beside the position."""

    document_starts: NDArray[np.int64]
    """Places in the stream at which a document starts, ascending."""
    train_counts: NDArray[np.int64]
    """How often each token id occurs in the training text."""


def evaluate_model(
    model_dir: Path,
    shards: Sequence[Path],
    *,
    config: EvaluateConfig,
    options: RunOptions,
    token_num_bytes: NDArray[np.int64] | None = None,
    grouping: Grouping | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Evaluate a published model on all tokens of `shards`.

    Args:
        model_dir: Folder with `model.safetensors` and `config.json`.
        shards: Token files, in the order of the stream.
        config: What determines the numbers.
        options: Device and path to use.
        token_num_bytes: Bytes of each token id, for bits per byte.
        grouping: Documents and frequencies, for the losses by them.
        on_progress: Gets (predicted tokens, tokens to predict).

    Raises:
        ValueError: Model or shards are damaged or do not fit each other.
    """
    model = load_model(model_dir)
    stream = open_shards(shards)
    _check(stream, model.config, config, token_num_bytes)
    plan = _choose_plan(model.config, config, options)
    model.to(plan.device)
    use_plan(model, plan)
    context_length = config.context_length or model.config.context_length
    sums = _Sums(context_length)
    groups = LossSums(grouping.document_starts, model.config.vocab_size) if grouping else None
    with planned_backend(plan):
        batches = _iter_windows(stream, context_length, config.batch_size)
        for windows, by_window in _iter_losses(model, batches, plan, config.precision):
            sums.add(by_window)
            if groups is not None:
                groups.add(windows[:, 1:].flatten().numpy(), by_window.ravel())
            if token_num_bytes is not None:
                sums.num_bytes += int(token_num_bytes[windows[:, 1:].numpy()].sum())
            if on_progress is not None:
                on_progress(sums.num_tokens, stream.num_tokens - 1)
    evaluation = _summarize(sums, has_bytes=token_num_bytes is not None)
    if groups is None or grouping is None:
        return evaluation
    return replace(
        evaluation,
        standard_error_over_documents=groups.standard_error(),
        loss_by_document_length=groups.by_document_length(),
        loss_by_token_count=groups.by_count(grouping.train_counts),
    )


def _choose_plan(model_config: ModelConfig, config: EvaluateConfig, options: RunOptions) -> Plan:
    """Choose device, threads and products as for training; compiling is not worth its time."""
    like_training = TrainConfig(batch_size=config.batch_size, precision=config.precision)
    return choose_plan(model_config, like_training, replace(options, compile="off"))


def _iter_losses(
    model: TransformerLM,
    batches: Iterator[Int[Tensor, "batch window"]],
    plan: Plan,
    precision: Precision,
) -> Iterator[tuple[Int[Tensor, "batch window"], NDArray[np.float64]]]:
    """Yield each batch of windows with the loss of every position.

    A GPU starts a batch before the host takes the losses of the one before.
    """
    waiting: tuple[Tensor, Tensor] | None = None
    for windows in batches:
        if plan.device == "cuda":
            windows = windows.pin_memory()
        tokens = windows.to(plan.device, non_blocking=True)  # (B, T + 1)
        losses = token_losses(
            model,
            tokens[:, :-1],
            tokens[:, 1:],
            precision=precision,
            fast=plan.fast,
            chunk_size=min(plan.loss_chunk, UNCOMPILED_CHUNK),
        )
        if waiting is not None:
            yield waiting[0], waiting[1].cpu().double().numpy()
        waiting = (windows, losses)
    if waiting is not None:
        yield waiting[0], waiting[1].cpu().double().numpy()


def _check(
    stream: TokenShards,
    model_config: ModelConfig,
    config: EvaluateConfig,
    token_num_bytes: NDArray[np.int64] | None,
) -> None:
    if config.context_length > model_config.context_length:
        raise ValueError(
            f"evaluate.context_length ({config.context_length}) must be at most the model's "
            f"({model_config.context_length})"
        )
    if stream.num_tokens < 2:
        raise ValueError(f"the shards hold {stream.num_tokens} tokens; evaluation needs two")
    if token_num_bytes is not None and len(token_num_bytes) < model_config.vocab_size:
        raise ValueError(
            f"token_num_bytes ({len(token_num_bytes)}) must have an entry for each of the "
            f"model's {model_config.vocab_size} token ids"
        )
    check_token_ids(stream, model_config.vocab_size)


def _iter_windows(
    stream: TokenShards, context_length: int, batch_size: int
) -> Iterator[Int[Tensor, "batch window"]]:
    """Yield all whole windows in order, then the shorter one that is left over."""
    num_predicted = stream.num_tokens - 1
    starts = np.arange(num_predicted // context_length, dtype=np.int64) * context_length
    for first in range(0, len(starts), batch_size):
        yield read_windows(stream, starts[first : first + batch_size], context_length + 1)
        release_pages(stream)
    rest = num_predicted % context_length
    if rest:
        start = np.array([num_predicted - rest], dtype=np.int64)
        yield read_windows(stream, start, rest + 1)


class _Sums:
    """Running sums in float64 over windows."""

    def __init__(self, context_length: int) -> None:
        self.by_position = np.zeros(context_length)
        self.num_by_position = np.zeros(context_length, dtype=np.int64)
        self.num_bytes = 0
        self._window_losses: list[NDArray[np.float64]] = []
        self._window_lengths: list[NDArray[np.int64]] = []

    def add(self, losses: NDArray[np.float64]) -> None:
        """Add a batch of windows, (B, T)."""
        num_windows, length = losses.shape
        self.by_position[:length] += losses.sum(axis=0)
        self.num_by_position[:length] += num_windows
        self._window_losses.append(losses.sum(axis=1))
        self._window_lengths.append(np.full(num_windows, length, dtype=np.int64))

    @property
    def num_tokens(self) -> int:
        """Tokens predicted so far."""
        return int(self.num_by_position.sum())

    def standard_error(self) -> float | None:
        """Return the error of the mean loss, windows being clusters; None for one."""
        lengths = np.concatenate(self._window_lengths)
        return cluster_standard_error(np.concatenate(self._window_losses), lengths)


def _summarize(sums: _Sums, *, has_bytes: bool) -> Evaluation:
    total = float(sums.by_position.sum())
    loss = total / sums.num_tokens
    reached = sums.num_by_position > 0
    by_position = sums.by_position[reached] / sums.num_by_position[reached]
    return Evaluation(
        loss=loss,
        perplexity=math.exp(loss) if loss < 700 else math.inf,  # e^710 is beyond float64
        bits_per_byte=total / math.log(2) / sums.num_bytes if has_bytes else None,
        num_tokens=sums.num_tokens,
        num_bytes=sums.num_bytes if has_bytes else None,
        standard_error=sums.standard_error(),
        loss_by_position=tuple(by_position.tolist()),
        context_length=len(sums.by_position),
    )
