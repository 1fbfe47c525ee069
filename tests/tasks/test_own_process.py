"""Training in one child process, as on a GPU, and what its exit code means."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lm.config import ModelConfig, RunOptions, TrainConfig
from lm.machine.device_errors import DEVICE_ERROR_EXIT, is_device_error
from lm.training.job.job import TrainJob
from tasks.execution.retry import is_transient
from tasks.execution.training_process import (
    DeviceFailedError,
    check_exit,
    needs_own_process,
    steps_told,
    train_in_processes,
)


@pytest.fixture
def job(tmp_path: Path) -> TrainJob:
    """A run of two processes on random tokens."""
    tokens = np.random.default_rng(0).integers(0, 64, 4000).astype(np.uint16)
    np.save(tmp_path / "tokens.npy", tokens)
    shape = ModelConfig(
        vocab_size=64, context_length=16, d_model=32, num_layers=1, num_heads=2, d_ff=64
    )
    return TrainJob(
        model_config=shape,
        train_config=TrainConfig(batch_size=8, max_steps=10, warmup_steps=2, valid_interval=0),
        options=RunOptions(device="cpu", compile="off", num_threads=1, num_processes=2),
        train_shards=[tmp_path / "tokens.npy"],
        valid_shards=[tmp_path / "tokens.npy"],
        output_dir=tmp_path / "run",
    )


@pytest.mark.slow
def test_one_process_of_its_own_trains_too(job: TrainJob) -> None:
    """As on a GPU: a child without torchrun, whose steps are seen from outside."""
    job.output_dir.mkdir()
    single = replace(job, options=replace(job.options, num_processes=1))
    assert steps_told(single) == 0
    assert train_in_processes(single, on_checkpoint=lambda *_: None).step == 10
    assert steps_told(single) == 10


def test_a_failed_device_is_worth_another_try() -> None:
    """The worker's exit code for it becomes an error that the task retries; others do not."""
    with pytest.raises(DeviceFailedError) as failed:
        check_exit(DEVICE_ERROR_EXIT, 1)
    assert is_transient(failed.value)
    with pytest.raises(RuntimeError, match="a process of its own ended with exit code 1"):
        check_exit(1, 1)
    check_exit(0, 1)


def test_device_errors_are_told_from_others() -> None:
    """By what CUDA and its libraries write; too little memory is none."""
    assert is_device_error(RuntimeError("CUDA error: an illegal memory access was encountered"))
    assert not is_device_error(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_device_error(RuntimeError("shapes do not match"))
    assert not is_device_error(ValueError("CUDA error"))


def test_a_cpu_alone_needs_no_process_of_its_own(job: TrainJob) -> None:
    """Several processes do."""
    assert needs_own_process(job)
    assert not needs_own_process(replace(job, options=replace(job.options, num_processes=1)))
