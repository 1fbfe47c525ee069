"""Training through `torch.compile` is as exactly resumable as without."""

from pathlib import Path

import jaxtyping
import numpy as np
import pytest

from lm.config import ModelConfig, RunOptions, TrainConfig
from lm.machine.probe import has_compiler
from lm.training.job.job import Callbacks, TrainJob
from lm.training.train import train


@pytest.mark.slow
@pytest.mark.timeout(900)  # compiles several times
@pytest.mark.skipif(not has_compiler("cpu"), reason="no C++ compiler for torch.compile")
@pytest.mark.filterwarnings("ignore")  # the compiler's own; they change with each release of torch
def test_a_compiled_run_that_was_stopped_ends_as_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle and resumed: files are bit-equal, and the plan stays compiled."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # torch cannot compile it
    tokens = np.cumsum(np.random.default_rng(0).integers(0, 3, 5000)) % 64
    np.save(tmp_path / "tokens.npy", tokens.astype(np.uint16))

    def stop(done: int, total: int) -> None:
        if done == total // 2:
            raise KeyboardInterrupt

    model = ModelConfig(
        vocab_size=64, context_length=32, d_model=64, num_layers=2, num_heads=2, d_ff=128
    )
    config = TrainConfig(
        batch_size=8, max_steps=12, warmup_steps=2, log_interval=1, precision="bf16"
    )

    def run(name: str, *, is_stopped: bool, options: RunOptions) -> bool:
        job = TrainJob(
            model_config=model,
            train_config=config,
            options=options,
            train_shards=[tmp_path / "tokens.npy"],
            valid_shards=[tmp_path / "tokens.npy"],
            output_dir=tmp_path / name,
        )
        result = train(job, Callbacks(on_progress=stop if is_stopped else None))
        return bool(result.environment["compile"])

    compiled = RunOptions(device="cpu", compile="on", micro_batch_size=4)
    assert run("whole", is_stopped=False, options=compiled)
    with pytest.raises(KeyboardInterrupt):
        run("parts", is_stopped=True, options=compiled)
    assert run("parts", is_stopped=False, options=RunOptions(device="cpu", compile="off"))
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
