"""Tests of `lm/training/step/step.py`."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lm.config import ModelConfig, RunOptions, TrainConfig
from lm.machine.distributed import Processes
from lm.machine.probe import choose_plan
from lm.training.job.job import TrainJob
from lm.training.step.run import TrainingRun, build_run, open_splits
from lm.training.step.step import take_step, update_average

TINY = ModelConfig(vocab_size=64, context_length=16, d_model=16, num_layers=1, num_heads=2, d_ff=32)
AVERAGED = TrainConfig(batch_size=4, max_steps=30, warmup_steps=2, ema_decay=0.5)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[TrainingRun]:
    """A run at step 0 on random tokens, with averaged weights."""
    tokens = np.random.default_rng(0).integers(0, 64, 1000).astype(np.uint16)
    np.save(tmp_path / "tokens.npy", tokens)
    job = TrainJob(
        model_config=TINY,
        train_config=AVERAGED,
        options=RunOptions(device="cpu", compile="off", num_threads=1),
        train_shards=[tmp_path / "tokens.npy"],
        valid_shards=[tmp_path / "tokens.npy"],
        output_dir=tmp_path,
    )
    run = build_run(job, choose_plan(TINY, AVERAGED, job.options), open_splits(job), Processes())
    yield run
    run.loader.close()


def averaged(run: TrainingRun) -> list[Tensor]:
    """Copy the averaged weights."""
    assert run.average is not None
    return [parameter.clone() for parameter in run.average.parameters()]


def test_the_average_starts_at_the_weights_and_forgets_the_first_ones_fast(
    run: TrainingRun,
) -> None:
    """Update t keeps (1 + t) / (10 + t) of the average, and never more than `ema_decay`."""
    expected = [parameter.detach().clone() for parameter in run.model.parameters()]
    for decay in (1 / 10, 2 / 11, 3 / 12, 4 / 13, 5 / 14, 6 / 15, 7 / 16, 8 / 17, 0.5, 0.5, 0.5):
        take_step(run)
        for average, weight in zip(expected, run.model.parameters(), strict=True):
            average.copy_(decay * average + (1 - decay) * weight.detach())
        torch.testing.assert_close(averaged(run), expected, rtol=1e-6, atol=1e-7)


def test_skipped_steps_do_not_age_the_average(run: TrainingRun) -> None:
    """After five steps, four of them spikes, the decay is that of the second update."""
    before = averaged(run)
    run.state = replace(run.state, step=5, num_skipped=4)
    with torch.no_grad():
        for parameter in run.model.parameters():
            parameter.add_(1.0)
    update_average(run)
    for now, then in zip(averaged(run), before, strict=True):
        torch.testing.assert_close(now - then, torch.full_like(now, 9 / 11), rtol=0, atol=1e-6)
