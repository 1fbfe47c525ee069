"""Tests of `lm/training/` (validation, resume, clock) and `lm/machine/peak.py`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lm.checkpoint.durable import Checkpoint
from lm.config import ModelConfig, RunOptions, TrainConfig
from lm.data.shards import open_shards
from lm.machine.distributed import Processes
from lm.machine.peak import measure_peak_flops
from lm.machine.probe import choose_plan
from lm.model.functional import token_cross_entropy
from lm.model.transformer import TransformerLM
from lm.training.job.resume import take_over_plan
from lm.training.step.clock import Clock
from lm.training.step.state import TrainState
from lm.training.validation import sample_starts, sampled_loss

TINY = ModelConfig(vocab_size=40, context_length=16, d_model=32, num_layers=1, num_heads=2, d_ff=64)


def test_sampled_windows_are_spread_and_do_not_overlap() -> None:
    """Fewer windows than there are: over the whole split; more: each once."""
    starts = sample_starts(10_001, 100, 10)
    assert starts.tolist() == list(range(0, 10_000, 1000))
    assert sample_starts(1001, 100, 500).tolist() == list(range(0, 1000, 100))


@pytest.mark.parametrize("micro_batch_size", [1, 4, 100])
def test_the_sampled_loss_is_the_mean_over_its_windows(
    tmp_path: Path, micro_batch_size: int
) -> None:
    """Loss and count agree with the plain computation."""
    tokens = np.random.default_rng(0).integers(0, 40, 400).astype(np.uint16)
    np.save(tmp_path / "v.npy", tokens)
    model = TransformerLM(TINY, generator=torch.Generator().manual_seed(0))
    loss, num_tokens = sampled_loss(
        model,
        open_shards([tmp_path / "v.npy"]),
        TrainConfig(batch_size=3, valid_batches=3),
        micro_batch_size=micro_batch_size,
        fast=False,
        processes=Processes(),
    )
    starts = sample_starts(400, 16, 9)
    windows = torch.from_numpy(np.stack([tokens[s : s + 17] for s in starts]).astype(np.int64))
    with torch.no_grad():
        expected = token_cross_entropy(model(windows[:, :-1]), windows[:, 1:]).mean()
    assert num_tokens == 9 * 16
    assert loss == pytest.approx(float(expected), rel=1e-6)


def test_a_plan_is_taken_over_on_the_same_device_only() -> None:
    """On another device the choices are its own, and a note says that bits will differ."""
    plan = choose_plan(TINY, TrainConfig(), RunOptions(device="cpu", compile="off"))
    facts = {
        "device": "cpu",
        "fast": False,
        "compile": True,
        "attention": "math",
        "micro_batch_size": 3,
        "num_threads": 7,
        "fp32_matmul": "mkl",
    }
    checkpoint = Checkpoint(step=1, tensors={}, facts={"plan": facts})
    taken = take_over_plan(plan, checkpoint)
    assert (taken.fast, taken.compile, taken.micro_batch_size) == (False, True, 3)
    elsewhere = replace(plan, device="cuda")
    kept = take_over_plan(elsewhere, checkpoint)
    assert kept.micro_batch_size == plan.micro_batch_size
    assert "not bit for bit" in kept.notes[-1]


def test_the_clock_reserves_the_time_of_a_validation() -> None:
    """With half the budget needed for validation, little is left; without a budget, no share."""
    clock = Clock(10.0, elapsed_before_s=2.0)
    assert 0.2 <= clock.share() < 0.21
    clock.validation_s = 5.0  # reserved with its margin: 6 of 10 seconds
    assert 0.5 <= clock.share() < 0.51
    clock.validation_s = 50.0
    assert clock.share() == 1.0
    assert Clock(0.0).share() == 0.0


def test_the_schedule_begins_after_compiling_and_ends_before_saving() -> None:
    """What is not spent on steps moves no schedule; a resumed run counts each process's setup."""
    clock = Clock(100.0)
    clock.started -= 20.0  # 20 seconds ago
    clock.end_setup()
    assert clock.share() < 0.001
    clock.save_s, clock.step_s = 20.0, 5.0  # 30 seconds with the margin
    clock.started -= 25.0
    assert clock.share() == pytest.approx(0.5, abs=0.001)

    resumed = Clock(100.0)
    resumed.take_over(clock.kept_in(TrainState()))
    resumed.step_s = clock.step_s
    assert resumed.share() == pytest.approx(0.5, abs=0.001)
    resumed.started -= 10.0
    resumed.end_setup()
    assert resumed.setup_s == pytest.approx(30.0, abs=0.01)
    assert resumed.share() == pytest.approx(25 / 40, abs=0.001)
    resumed.started -= 15.0
    assert resumed.share() == 1.0


def test_the_peak_is_that_of_a_processor() -> None:
    """Between a billion and a quadrillion products a second."""
    assert 1e9 < measure_peak_flops(torch.device("cpu"), "fp32") < 1e15
