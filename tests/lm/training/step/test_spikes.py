"""Tests of `lm/training/step/spikes.py`, and of what training does about spikes."""

import json
import math
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lm.checkpoint.durable import read_checkpoint
from lm.checkpoint.folder import list_checkpoints, newest_intact
from lm.checkpoint.weights import check_finite
from lm.config import ModelConfig, RunOptions, TrainConfig
from lm.loss import Loss
from lm.machine.distributed import Processes
from lm.machine.probe import choose_plan
from lm.training.job.job import Callbacks, TrainingStoppedError, TrainJob
from lm.training.loop import run_to_the_end
from lm.training.outputs import open_outputs
from lm.training.step.compiled import LossFunction
from lm.training.step.run import build_run, open_splits, restore
from lm.training.step.spikes import is_spike, remember
from lm.training.step.state import WINDOW, TrainState, state_from_json
from lm.training.train import train

CALM = tuple(2.0 + 0.1 * (-1) ** n for n in range(WINDOW))  # mean 2, deviation 0.1
TINY = ModelConfig(vocab_size=64, context_length=16, d_model=32, num_layers=1, num_heads=2, d_ff=64)
BRIEF = TrainConfig(
    batch_size=4,
    max_steps=30,
    warmup_steps=2,
    log_interval=5,
    valid_interval=0,
    valid_batches=1,
    max_spikes=3,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(2.59, False), (2.61, True), (0.0, False), (math.nan, True), (math.inf, True)],
)
def test_spikes_are_beyond_six_deviations_upwards_or_not_finite(
    value: float, expected: bool
) -> None:
    """Mean 2, deviation 0.1: the limit is 2.6; a low value is none."""
    assert is_spike(value, CALM, sigma=6.0) is expected


def test_without_a_full_window_only_what_is_not_finite_is_a_spike() -> None:
    """The first steps, with a steep loss, are compared with nothing."""
    assert not is_spike(1e9, CALM[1:], sigma=6.0)
    assert is_spike(-math.inf, (), sigma=6.0)
    assert not is_spike(1e9, CALM, sigma=0.0)


def test_only_the_last_values_are_remembered() -> None:
    """The window slides."""
    assert remember(CALM, 7.0) == (*CALM[1:], 7.0)
    assert remember((1.0,), 2.0) == (1.0, 2.0)


class SpoiledLoss:
    """A loss whose gradient is not finite in some steps of one forward pass each."""

    def __init__(self, loss: LossFunction, steps: range, first_step: int) -> None:
        self.loss, self.steps, self.step = loss, steps, first_step

    def __call__(self, inputs: Tensor, targets: Tensor) -> Loss:
        """Compute the loss, spoiled if this is one of the steps."""
        result = self.loss(inputs, targets)
        factor = float("nan") if self.step in self.steps else 1.0
        self.step += 1
        return Loss(result.total * factor, result.cross_entropy)


def job_in(folder: Path, config: TrainConfig) -> TrainJob:
    """A job on the tokens of a folder, whose run is in a sub-folder."""
    return TrainJob(
        model_config=TINY,
        train_config=config,
        options=RunOptions(device="cpu", compile="off", num_threads=1),
        train_shards=[folder / "tokens.npy"],
        valid_shards=[folder / "tokens.npy"],
        output_dir=folder / "run",
    )


def run_spoiled(
    folder: Path, config: TrainConfig, spoiled: range, *, stop_before: int = -1
) -> list[dict[str, Any]]:
    """Train or resume on random tokens, with some steps spoiled; return the metrics."""
    tokens = np.random.default_rng(0).integers(0, 64, 4000).astype(np.uint16)
    np.save(folder / "tokens.npy", tokens)
    job = job_in(folder, config)
    plan = choose_plan(TINY, config, job.options)
    run = build_run(job, plan, open_splits(job), Processes())
    run.anchor_interval = 8
    checkpoint = newest_intact(job.checkpoints)
    if checkpoint is not None:
        restore(run, checkpoint)
    run.loss = SpoiledLoss(run.loss, spoiled, run.state.step)
    run.peak_flops = 1.0
    metrics_text = None if checkpoint is None else checkpoint.facts["metrics"]
    callbacks = Callbacks(stop_requested=lambda: run.state.step == stop_before)
    outputs = open_outputs(job, callbacks, run.processes, metrics_text=metrics_text)
    with closing(run.loader), closing(outputs):
        run_to_the_end(run, outputs)
    text = (folder / "run" / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def final_state(folder: Path) -> TrainState:
    """Read the state that the last checkpoint holds."""
    path = list_checkpoints(folder / "run" / "checkpoints")[-1][1]
    return state_from_json(read_checkpoint(path).facts["state"])


def test_a_spoiled_step_is_skipped_and_counted(tmp_path: Path) -> None:
    """Two bad steps leave finite weights, a count of two and lines that say so."""
    metrics = run_spoiled(tmp_path, BRIEF, range(10, 12))
    state = final_state(tmp_path)
    assert (state.step, state.num_skipped, state.diverged) == (30, 2, False)
    spikes = [line for line in metrics if "spike/loss" in line]
    assert [line["step"] for line in spikes] == [11, 12]
    assert spikes[0]["spike/gradient_norm"] is None
    assert not any(line["spike/is_rolled_back"] for line in spikes)
    check_finite(load_file(tmp_path / "run" / "model.safetensors"))


def test_spikes_in_a_row_restore_the_anchor(tmp_path: Path) -> None:
    """After three bad steps the weights are the anchor's, while steps and data continue."""
    metrics = run_spoiled(tmp_path, replace(BRIEF, max_steps=13), range(10, 13))
    spikes = [line["spike/is_rolled_back"] for line in metrics if "spike/loss" in line]
    assert spikes == [False, False, True]
    assert final_state(tmp_path).step == 13
    anchor = read_checkpoint(tmp_path / "run" / "checkpoints" / "step-00000008").tensors
    weights = load_file(tmp_path / "run" / "model.safetensors")
    assert all(torch.equal(weights[name], anchor[f"model.{name}"]) for name in weights)


@pytest.mark.parametrize("stop_before", [12, 13, 14])
def test_a_run_stopped_around_the_roll_back_ends_in_the_same_bytes(
    tmp_path: Path, stop_before: int
) -> None:
    """Stopped before the last of three bad steps, after it, or one later: the same bytes."""
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    run_spoiled(tmp_path / "whole", BRIEF, range(10, 13))
    with pytest.raises(TrainingStoppedError, match=f"after step {stop_before}"):
        run_spoiled(tmp_path / "parts", BRIEF, range(10, 13), stop_before=stop_before)
    run_spoiled(tmp_path / "parts", BRIEF, range(10, 13))
    for file in ("metrics.jsonl", "model.safetensors"):
        whole, parts = (tmp_path / name / "run" / file for name in ("whole", "parts"))
        assert whole.read_bytes() == parts.read_bytes()


def test_spikes_after_the_roll_back_end_the_run_as_diverged(tmp_path: Path) -> None:
    """Six bad steps in a row: back once, then given up, with finite weights."""
    run_spoiled(tmp_path, BRIEF, range(10, 30))
    state = final_state(tmp_path)
    assert state.diverged
    assert (state.step, state.num_skipped) == (16, 6)
    check_finite(load_file(tmp_path / "run" / "model.safetensors"))


def test_a_diverged_run_is_a_result_and_is_not_continued(tmp_path: Path) -> None:
    """Called again, training reports the divergence and takes no step."""
    run_spoiled(tmp_path, BRIEF, range(10, 30))
    result = train(job_in(tmp_path, BRIEF))
    assert (result.diverged, result.step, result.num_skipped) == (True, 16, 6)


@pytest.mark.parametrize("rate", [1.0, 1e38])
def test_a_model_without_a_finite_loss_is_published_all_the_same(
    tmp_path: Path, rate: float
) -> None:
    """Without norms or with rates that overflow, the validation has no loss, and none is kept."""
    np.save(tmp_path / "tokens.npy", np.arange(4000, dtype=np.uint16) % 64)
    job = job_in(tmp_path, replace(BRIEF, max_learning_rate=rate, valid_interval=2, log_interval=1))
    model = replace(TINY, norm="none", num_layers=4)
    result = train(replace(job, model_config=model))
    assert result.diverged
    assert result.valid_loss is None
    check_finite(load_file(tmp_path / "run" / "model.safetensors"))
