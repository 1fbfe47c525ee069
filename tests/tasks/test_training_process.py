"""Tests of `tasks/training_process.py`: torchrun as a child of the task."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lm.config import ModelConfig, RunOptions, TrainConfig
from lm.training.job import TrainJob
from tasks.training_process import train_in_processes


@pytest.fixture
def job(tmp_path: Path) -> TrainJob:
    """A run of two processes on random tokens, with a checkpoint every five steps."""
    tokens = np.random.default_rng(0).integers(0, 64, 4000).astype(np.uint16)
    np.save(tmp_path / "tokens.npy", tokens)
    shape = ModelConfig(
        vocab_size=64, context_length=16, d_model=32, num_layers=1, num_heads=2, d_ff=64
    )
    return TrainJob(
        model_config=shape,
        train_config=TrainConfig(batch_size=8, max_steps=10, warmup_steps=2, valid_interval=0),
        options=RunOptions(
            device="cpu", compile="off", num_threads=1, num_processes=2, checkpoint_steps=5
        ),
        train_shards=[tmp_path / "tokens.npy"],
        valid_shards=[tmp_path / "tokens.npy"],
        output_dir=tmp_path / "run",
    )


@pytest.mark.slow
def test_the_last_checkpoint_of_the_processes_is_reported(job: TrainJob) -> None:
    """Whatever was missed between two looks, the newest checkpoint reaches the caller."""
    job.output_dir.mkdir()
    reported: list[tuple[int, bool]] = []

    def on_checkpoint(step: int, folder: Path) -> None:
        reported.append((step, (folder / "state.json").exists()))

    assert train_in_processes(job, on_checkpoint=on_checkpoint).step == 10
    assert reported[-1] == (10, True)


@pytest.mark.slow
def test_a_failed_training_says_where_its_message_is(job: TrainJob) -> None:
    """The exit code of the processes becomes an error of the task."""
    job.output_dir.mkdir()
    missing = replace(job, train_shards=[job.output_dir / "missing.npy"])
    with pytest.raises(RuntimeError, match="2 processes ended with exit code 1"):
        train_in_processes(missing, on_checkpoint=lambda *_: None)
