"""Tests of `tasks/training_process.py`: torchrun as a child of the task."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from lm.config import ModelConfig, RunOptions, TrainConfig
from lm.training.job import TrainJob
from lm.training.run_file import write_job
from tasks.training_process import train_in_processes

ROOT = Path(__file__).parents[2]


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


@pytest.mark.slow
def test_the_processes_end_when_the_task_is_killed(job: TrainJob, tmp_path: Path) -> None:
    """They save where they are and leave: nobody would read what they train on."""
    job.output_dir.mkdir()
    endless = replace(job, train_config=replace(job.train_config, max_steps=10**6))
    write_job(job.output_dir / "run.json", endless)
    code = (
        "import pathlib, sys; from lm.training.run_file import read_job\n"
        "from tasks.training_process import train_in_processes\n"
        "job = read_job(pathlib.Path(sys.argv[1]))\n"
        "train_in_processes(job, on_checkpoint=lambda *_: print('saved', flush=True))\n"
    )
    command = [sys.executable, "-c", code, str(job.output_dir / "run.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as task:
        assert task.stdout is not None
        assert task.stdout.readline() == "saved\n"
        children = psutil.Process(task.pid).children(recursive=True)
        task.kill()
    assert len(children) >= 3  # torchrun and its two processes
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
