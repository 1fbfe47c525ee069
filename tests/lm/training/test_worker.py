"""Tests of training as processes: `worker.py`, `run_file.py`, `lm/machine/distributed.py`."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file

from lm.checkpoint.folder import list_checkpoints
from lm.config import ModelConfig, RunOptions, TrainConfig
from lm.machine.distributed import torchrun_command
from lm.training.job.job import TrainJob
from lm.training.job.run_file import read_job, read_result, write_job
from lm.training.train import train
from tests.free_port import free_port

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def job(tmp_path: Path) -> TrainJob:
    """A short run on random tokens."""
    tokens = np.random.default_rng(0).integers(0, 64, 4000).astype(np.uint16)
    np.save(tmp_path / "tokens.npy", tokens)
    return TrainJob(
        model_config=ModelConfig(
            vocab_size=64, context_length=16, d_model=32, num_layers=2, num_heads=2, d_ff=64
        ),
        train_config=TrainConfig(
            batch_size=8,
            max_steps=10,
            warmup_steps=2,
            log_interval=1,
            valid_interval=5,
            valid_batches=2,
        ),
        options=RunOptions(device="cpu", compile="off", num_threads=1),
        train_shards=[tmp_path / "tokens.npy"],
        valid_shards=[tmp_path / "tokens.npy"],
        output_dir=tmp_path / "run",
    )


def start(
    command: list[str], *, environment: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a process in the repository root, with additions to the environment."""
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | (environment or {}),
    )


def finish(command: list[str]) -> None:
    """Run a process until it ends, without an error."""
    process = start(command)
    output, _ = process.communicate()
    assert process.returncode == 0, output


def losses(folder: Path) -> list[float]:
    """Read training and validation losses in the order in which they were logged."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [
        value
        for line in lines
        for name, value in json.loads(line).items()
        if name in ("train/loss", "valid/loss")
    ]


def test_a_job_file_gives_back_what_was_written(tmp_path: Path, job: TrainJob) -> None:
    """Every field is the same after it was written as JSON and read again."""
    write_job(tmp_path / "run.json", job)
    assert read_job(tmp_path / "run.json") == job


def test_a_job_file_with_unknown_fields_is_refused(tmp_path: Path, job: TrainJob) -> None:
    """A misspelt field is an error that names the file."""
    write_job(tmp_path / "run.json", job)
    values = json.loads((tmp_path / "run.json").read_text())
    values["model_config"]["d_modell"] = 3
    (tmp_path / "run.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"(?s)run\.json is not a file of write_job.*d_modell"):
        read_job(tmp_path / "run.json")


@pytest.mark.slow
@pytest.mark.timeout(900)  # five processes, each of which imports torch
def test_the_worker_alone_does_what_train_does(tmp_path: Path, job: TrainJob) -> None:
    """`python -m lm.training.worker` writes the same bytes and leaves a result."""
    write_job(tmp_path / "run.json", job)
    finish([sys.executable, "-m", "lm.training.worker", str(tmp_path / "run.json")])
    assert read_result(tmp_path / "run.json").step == 10
    train(replace(job, output_dir=tmp_path / "alone"))
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (job.output_dir / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_the_worker_saves_on_sigterm(tmp_path: Path, job: TrainJob) -> None:
    """SIGTERM leaves a checkpoint at the step that was reached, and its exit status."""
    endless = replace(job, train_config=replace(job.train_config, max_steps=10**6))
    write_job(tmp_path / "run.json", endless)
    process = start([sys.executable, "-m", "lm.training.worker", str(tmp_path / "run.json")])
    metrics = job.output_dir / "metrics.jsonl"
    deadline = time.monotonic() + 200
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") > 20):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM, output
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    saved_step = list_checkpoints(job.output_dir / "checkpoints")[-1][0]
    assert saved_step - steps[-1] in (
        0,
        1,
    )  # stopped after the update; its line is written on resuming


def test_two_processes_train_as_one(tmp_path: Path, job: TrainJob) -> None:
    """The same global batches: losses agree within fp32 rounding at every step."""
    two = replace(job, options=replace(job.options, num_processes=2))
    write_job(tmp_path / "run.json", two)
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    processes = [
        start(
            [sys.executable, "-m", "lm.training.worker", str(tmp_path / "run.json")],
            environment={**group, "RANK": rank, "LOCAL_RANK": rank},
        )
        for rank in ("0", "1")
    ]
    train(replace(job, output_dir=tmp_path / "alone"))
    for process in processes:
        output, _ = process.communicate()
        assert process.returncode == 0, output
    np.testing.assert_allclose(losses(job.output_dir), losses(tmp_path / "alone"), rtol=1e-5)
    result = read_result(tmp_path / "run.json")
    assert result.environment["world_size"] == 2
    assert result.step == 10


@pytest.mark.slow
@pytest.mark.timeout(900)  # five processes, each of which imports torch
def test_two_processes_resume_exactly_and_one_takes_over(tmp_path: Path, job: TrainJob) -> None:
    """Stopped by SIGTERM: two resume bit for bit; one process resumes with the same data."""
    config = replace(job.train_config, max_steps=300, valid_interval=0, optimizer="muon")
    two = replace(job, train_config=config, options=replace(job.options, num_processes=2))
    for name in ("whole", "parts"):
        write_job(tmp_path / f"{name}.json", replace(two, output_dir=tmp_path / name))
    finish(torchrun_command(tmp_path / "whole.json", 2))
    process = start(torchrun_command(tmp_path / "parts.json", 2))
    metrics = tmp_path / "parts" / "metrics.jsonl"
    deadline = time.monotonic() + 200
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") > 40):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    stopped_at = list_checkpoints(tmp_path / "parts" / "checkpoints")[-1][0]
    assert 0 < stopped_at < 300
    subprocess.run(["cp", "-r", tmp_path / "parts", tmp_path / "one"], check=True)
    finish(torchrun_command(tmp_path / "parts.json", 2))
    whole, parts = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert [name for name in whole if not torch.equal(whole[name], parts[name])] == []
    assert (tmp_path / "whole" / "metrics.jsonl").read_bytes() == metrics.read_bytes()
    train(replace(two, options=job.options, output_dir=tmp_path / "one"))
    np.testing.assert_allclose(losses(tmp_path / "one"), losses(tmp_path / "whole"), rtol=2e-2)


@pytest.mark.slow
@pytest.mark.timeout(900)  # eight processes, each of which imports torch
def test_four_processes_train_as_one_and_two_go_on_when_one_is_killed(
    tmp_path: Path, job: TrainJob
) -> None:
    """A killed rank ends the job; another number of processes goes on with the same batches."""
    config = replace(job.train_config, max_steps=200, valid_interval=0)
    long = replace(job, train_config=config, options=replace(job.options, checkpoint_steps=20))
    write_job(tmp_path / "run.json", replace(long, options=replace(long.options, num_processes=4)))
    process = start(torchrun_command(tmp_path / "run.json", 4))
    checkpoints = job.output_dir / "checkpoints"
    deadline = time.monotonic() + 300
    while not (checkpoints.exists() and any(step for step, _ in list_checkpoints(checkpoints))):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    ranks = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "lm.training.worker" in child.cmdline()
    ]
    assert len(ranks) == 4
    ranks[-1].kill()
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0, output
    assert 0 < list_checkpoints(checkpoints)[-1][0] < 200

    write_job(tmp_path / "run.json", replace(long, options=replace(long.options, num_processes=2)))
    finish(torchrun_command(tmp_path / "run.json", 2))
    train(replace(long, output_dir=tmp_path / "alone"))
    # Rounding adds up over the steps; another batch would differ by some hundredths.
    np.testing.assert_allclose(losses(job.output_dir), losses(tmp_path / "alone"), rtol=1e-3)
