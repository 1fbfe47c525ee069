"""Training that is killed with SIGKILL at any moment ends in the same bytes."""

import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lm.checkpoint.durable import read_checkpoint
from lm.checkpoint.folder import list_checkpoints
from lm.config import ModelConfig, RunOptions, TrainConfig
from lm.training.job.job import TrainJob
from lm.training.job.run_file import read_result, write_job

ROOT = Path(__file__).resolve().parents[2]
NUM_STEPS = 200
NUM_KILLS = 3

BASE = TrainConfig(
    batch_size=8,
    max_steps=NUM_STEPS,
    warmup_steps=10,
    log_interval=1,
    valid_interval=25,
    valid_batches=2,
)
OPTIONS = RunOptions(device="cpu", compile="off", num_threads=1, checkpoint_steps=9)

VARIANTS = {
    "adamw": (BASE, OPTIONS),
    "muon": (replace(BASE, optimizer="muon", schedule="wsd"), OPTIONS),
    "accumulation": (BASE, replace(OPTIONS, micro_batch_size=3)),
    "average": (replace(BASE, ema_decay=0.99, optimizer="muon"), OPTIONS),
    "bf16": (replace(BASE, precision="bf16", sampling="with_replacement"), OPTIONS),
}


def write_run(folder: Path, name: str, config: TrainConfig, options: RunOptions) -> Path:
    """Write the job of a small model on tokens that follow a rule."""
    tokens = np.cumsum(np.random.default_rng(0).integers(0, 3, 20_000)) % 64
    np.save(folder / "tokens.npy", tokens.astype(np.uint16))
    job = TrainJob(
        model_config=ModelConfig(
            vocab_size=64, context_length=32, d_model=64, num_layers=2, num_heads=2, d_ff=128
        ),
        train_config=config,
        options=options,
        train_shards=[folder / "tokens.npy"],
        valid_shards=[folder / "tokens.npy"],
        output_dir=folder / name,
    )
    write_job(folder / f"{name}.json", job)
    return folder / f"{name}.json"


def start_worker(run_file: Path) -> subprocess.Popen[bytes]:
    """Start the training process."""
    return subprocess.Popen([sys.executable, "-m", "lm.training.worker", str(run_file)], cwd=ROOT)


def kill_after_lines(run_file: Path, metrics: Path, num_lines: int) -> None:
    """Start the training and kill it once its log has that many lines."""
    process = start_worker(run_file)
    while process.poll() is None:
        if metrics.exists() and metrics.read_bytes().count(b"\n") >= num_lines:
            process.kill()
            break
        time.sleep(0.001)
    process.wait()


@pytest.mark.slow
@pytest.mark.timeout(900)  # five processes, each of which imports torch
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_killed_run_ends_as_an_undisturbed_one(tmp_path: Path, variant: str) -> None:
    """Killed at three random steps and resumed: tensors and published files are bit-equal."""
    config, options = VARIANTS[variant]
    whole = write_run(tmp_path, "whole", config, options)
    assert start_worker(whole).wait() == 0
    killed = write_run(tmp_path, "killed", config, options)
    metrics = tmp_path / "killed" / "metrics.jsonl"
    moments = sorted(random.sample(range(1, NUM_STEPS), NUM_KILLS))
    for num_lines in moments:
        kill_after_lines(killed, metrics, num_lines)
    assert start_worker(killed).wait() == 0
    assert read_result(killed).step == NUM_STEPS
    for name in ("metrics.jsonl", "model.safetensors", "config.json"):
        expected = (tmp_path / "whole" / name).read_bytes()
        assert (tmp_path / "killed" / name).read_bytes() == expected, f"{name}, {moments=}"
    tensors = [
        read_checkpoint(list_checkpoints(tmp_path / name / "checkpoints")[-1][1]).tensors
        for name in ("whole", "killed")
    ]
    assert tensors[0].keys() == tensors[1].keys()
    different = [name for name in tensors[0] if not torch.equal(tensors[0][name], tensors[1][name])]
    assert different == [], f"{moments=}"
