"""Tests of `tasks/execution/training_process.py`: torchrun as a child of the task."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from lm.config import ModelConfig, RunOptions, TrainConfig
from lm.training.job.job import TrainJob
from lm.training.job.run_file import write_job
from tasks.execution.training_process import train_in_processes
from tests.free_port import free_port

ROOT = Path(__file__).parents[3]


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
        "import pathlib, sys; from lm.training.job.run_file import read_job\n"
        "from tasks.execution.training_process import train_in_processes\n"
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


TWO_MACHINES = """
for node in 0 1; do
    {python} -m torch.distributed.run --nnodes=2 --nproc-per-node=1 --node-rank=$node \\
        --rdzv-backend=c10d --rdzv-endpoint=127.0.0.1:{port} "$@" &
    agents="$agents $!"
done
trap 'kill $agents' TERM
for agent in $agents; do wait $agent || exit 1; done
"""
"""What `srun torchrun` does: an agent on each machine, which meet at an address."""


@pytest.fixture
def launcher(tmp_path: Path) -> str:
    """A command that starts two agents of one process each, as on two machines."""
    script = tmp_path / "launch.sh"
    script.write_text(TWO_MACHINES.format(python=sys.executable, port=free_port()))
    return f"bash {script}"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_machines_train_as_one_machine_with_two_processes(
    job: TrainJob, launcher: str, tmp_path: Path
) -> None:
    """The launcher's agents meet; the artifact's files are those of `num_processes` alone."""
    elsewhere = replace(
        job, output_dir=tmp_path / "two", options=replace(job.options, launcher=launcher)
    )
    for each in (job, elsewhere):
        each.output_dir.mkdir()
        train_in_processes(each, on_checkpoint=lambda *_: None)
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (job.output_dir / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_process_ends_the_training_and_the_next_one_resumes(
    job: TrainJob, launcher: str, tmp_path: Path
) -> None:
    """One of two machines loses its process: no half of a training goes on, and none is lost."""
    long = replace(
        job,
        train_config=replace(job.train_config, max_steps=400),
        options=replace(job.options, launcher=launcher, checkpoint_steps=20),
    )
    whole = replace(long, output_dir=tmp_path / "whole")
    killed: list[int] = []

    def kill_one(step: int, folder: Path) -> None:
        if not killed and step < 300:
            workers = [
                process
                for process in psutil.Process().children(recursive=True)
                if "lm.training.worker" in process.cmdline()
                and "torch.distributed.run" not in process.cmdline()
            ]
            workers[-1].kill()
            killed.append(step)

    for each in (long, whole):
        each.output_dir.mkdir()
    with pytest.raises(RuntimeError, match="2 processes ended with exit code"):
        train_in_processes(long, on_checkpoint=kill_one)
    assert train_in_processes(long, on_checkpoint=lambda *_: None).step == 400
    train_in_processes(whole, on_checkpoint=lambda *_: None)
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (long.output_dir / name).read_bytes() == (whole.output_dir / name).read_bytes()
