"""Tests of `lm/training/progress_sample.py`: a text at each validation."""

import json
from pathlib import Path

import numpy as np
import torch

from lm.checkpoint.weights import load_model
from lm.config import ModelConfig, RunOptions, TrainConfig
from lm.generate import generate
from lm.training.job.job import TrainJob
from lm.training.progress_sample import GREEDY, PROMPT_TOKENS
from lm.training.train import train

MODEL = ModelConfig(
    vocab_size=64, context_length=16, d_model=32, num_layers=1, num_heads=2, d_ff=64
)


def test_each_validation_leaves_what_the_weights_write(tmp_path: Path) -> None:
    """The last text is that of the published model; no random number of the process is drawn."""
    tokens = (np.arange(600) * 3 % 64).astype(np.uint16)
    np.save(tmp_path / "tokens.npy", tokens)
    job = TrainJob(
        model_config=MODEL,
        train_config=TrainConfig(
            batch_size=4, max_steps=6, warmup_steps=1, valid_interval=4, valid_batches=1
        ),
        options=RunOptions(compile="off", device="cpu", num_threads=1),
        train_shards=[tmp_path / "tokens.npy"],
        valid_shards=[tmp_path / "tokens.npy"],
        output_dir=tmp_path / "run",
    )
    random_state = torch.get_rng_state()
    train(job)
    assert torch.equal(torch.get_rng_state(), random_state)
    text = (tmp_path / "run" / "samples.jsonl").read_text(encoding="utf-8")
    found = [json.loads(line) for line in text.splitlines()]
    assert [line["step"] for line in found] == [4, 6]
    assert all(line["prompt_ids"] == tokens[:PROMPT_TOKENS].tolist() for line in found)
    model = load_model(tmp_path / "run")
    again = generate(model, found[-1]["prompt_ids"], config=GREEDY, seed=0)
    assert found[-1]["token_ids"] == again
