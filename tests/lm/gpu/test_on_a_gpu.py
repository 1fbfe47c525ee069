"""What only a CUDA device can show; `make test-gpu` runs it, with the Python that is there."""

import os

# cuBLAS reads it once, when CUDA starts; test_equal_runs_give_equal_bytes needs it.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lm.checkpoint.durable import read_checkpoint
from lm.checkpoint.folder import list_checkpoints
from lm.config import GenerateConfig, ModelConfig, Precision, RunOptions, TrainConfig
from lm.data.device_tokens import DeviceLoader
from lm.data.loader import BatchSource, read_batch
from lm.data.shards import open_shards
from lm.fast.chunked_loss import LossForm, chunked_cross_entropy
from lm.generate import generate_batch
from lm.machine.backend import planned_backend
from lm.machine.distributed import Processes
from lm.machine.probe import choose_plan
from lm.model.transformer import TransformerLM
from lm.training.job.job import Callbacks, TrainJob
from lm.training.step.compiled import build_loss
from lm.training.step.run import TrainingRun, build_run, open_splits
from lm.training.step.step import take_step
from lm.training.train import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

SHAPE = ModelConfig(
    vocab_size=512, context_length=128, d_model=128, num_layers=2, num_heads=4, d_ff=384
)
BRIEF = TrainConfig(
    batch_size=16,
    max_steps=40,
    warmup_steps=4,
    log_interval=8,
    valid_interval=20,
    valid_batches=2,
    precision="bf16",
)
EAGER = RunOptions(device="cuda", compile="off", graphs="off")


def job_in(
    folder: Path, options: RunOptions = EAGER, config: TrainConfig = BRIEF, model: Any = SHAPE
) -> TrainJob:
    """A job on tokens that can be learned, in a folder of its own."""
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    steps = np.where(generator.random(60_000) < 0.9, 3, generator.integers(0, 512, 60_000))
    np.save(folder / "tokens.npy", (np.cumsum(steps) % 512).astype(np.uint16))
    return TrainJob(
        model_config=model,
        train_config=config,
        options=options,
        train_shards=[folder / "tokens.npy"],
        valid_shards=[folder / "tokens.npy"],
        output_dir=folder / "run",
    )


def new_run(job: TrainJob, **changes: Any) -> TrainingRun:
    """Build a run at step 0, with changes of its plan."""
    plan = choose_plan(job.model_config, job.train_config, job.options)
    return build_run(job, replace(plan, **changes), open_splits(job), Processes())


def final_tensors(job: TrainJob) -> Mapping[str, Tensor]:
    """Read the last checkpoint of a run."""
    return read_checkpoint(list_checkpoints(job.checkpoints)[-1][1]).tensors


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("fp32", 1e-4), ("tf32", 3e-2), ("bf16", 8e-2)]
)
def test_fast_and_faithful_path_agree(precision: Precision, tolerance: float) -> None:
    """Loss and gradients of both paths, in each precision, relative to the largest entry."""
    ids = torch.randint(512, (8, 129), generator=torch.Generator().manual_seed(0)).cuda()
    results = []
    for options in (replace(EAGER, fast=False), replace(EAGER, products="joined")):
        config = replace(BRIEF, precision=precision)
        plan = choose_plan(SHAPE, config, options)
        model = TransformerLM(SHAPE, generator=torch.Generator().manual_seed(0)).cuda()
        with planned_backend(plan):
            loss = build_loss(model, plan, precision=precision)(ids[:, :-1], ids[:, 1:])
            torch.autograd.backward(loss.total)
        results.append((loss.total.detach(), [p.grad for p in model.parameters()]))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=tolerance, atol=0)
    for left, right in zip(results[0][1], results[1][1], strict=True):
        assert left is not None
        torch.testing.assert_close(left, right, rtol=0, atol=tolerance * float(left.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_form_of_the_loss_gives_the_same(dtype: torch.dtype) -> None:
    """Unrolled, whole, and in a loop: value and gradients within the dtype's rounding."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(4096, 128, generator=generator).cuda().to(dtype).requires_grad_()
    weight = torch.randn(1000, 128, generator=generator).cuda().requires_grad_()
    targets = torch.randint(1000, (4096,), generator=generator).cuda()
    forms: list[LossForm] = ["unrolled", "whole", "loop"]
    results = []
    for form in forms:
        total, _ = chunked_cross_entropy(hidden, weight, targets, chunk_size=1024, form=form)
        results.append((total.detach(), *torch.autograd.grad(total, (hidden, weight))))
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    for other in results[1:]:
        for left, right in zip(results[0], other, strict=True):
            limit = tolerance * float(left.abs().max())
            torch.testing.assert_close(left, right, rtol=0, atol=limit)


def test_tokens_on_the_device_give_the_batches_of_the_files(tmp_path: Path) -> None:
    """Bit for bit, over blocks and epochs."""
    job = job_in(tmp_path)
    source = BatchSource(shards=open_shards(job.train_shards), config=BRIEF, context_length=128)
    loader = DeviceLoader(replace(source, pin_memory=True), torch.device("cuda"))
    for index in (0, 1, 63, 64, 65, 500, 3):
        assert torch.equal(loader.load(index).cpu(), read_batch(source, index))
    loader.close()


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_never_waits_for_the_device(tmp_path: Path, optimizer: Any) -> None:
    """Torch raises where an operation would synchronise."""
    config = replace(BRIEF, optimizer=optimizer, ema_decay=0.9, log_interval=40)
    run = new_run(job_in(tmp_path, config=config), tokens="device")
    for _ in range(2):  # allocates moments
        take_step(run)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(4):
            take_step(run)
    finally:
        torch.cuda.set_sync_debug_mode("default")
        run.loader.close()


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_recorded_step_is_the_step(
    tmp_path: Path, optimizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """As one CUDA graph the step leads to the same weights, and it could be recorded."""
    config = replace(BRIEF, optimizer=optimizer, log_interval=40, precision="fp32")
    results = []
    for graphs in (False, True):
        run = new_run(job_in(tmp_path, config=config), graphs=graphs)
        for _ in range(10):
            take_step(run)
        run.loader.close()
        results.append([p.detach().clone() for p in run.model.parameters()])
    assert "no CUDA graph" not in caplog.text
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=2e-3)


def test_equal_runs_give_equal_bytes(tmp_path: Path) -> None:
    """With `deterministic`: twice the same run, and one that is stopped and resumed."""
    options = replace(EAGER, deterministic=True)
    whole, again, parts = (job_in(tmp_path / name, options) for name in ("a", "b", "c"))
    result = train(whole)
    assert result.deterministic
    train(again)

    def stop(done: int, total: int) -> None:
        if total and done >= 17:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(parts, Callbacks(on_progress=stop))
    train(parts)
    expected = final_tensors(whole)
    for job in (again, parts):
        found = final_tensors(job)
        assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


def test_without_determinism_a_run_says_so(tmp_path: Path) -> None:
    """The result names the device as the reason, and the run learns."""
    result = train(job_in(tmp_path))
    assert (result.deterministic, result.nondeterminism) == (False, "device")
    assert result.valid_loss is not None
    assert result.valid_loss < 2.0
    assert result.environment["decisions"] == "device"
    assert result.environment["tokens"] == "device"


def test_compiled_training_works_and_is_that_of_eager_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without falling back, and with a loss within bf16's rounding of the eager one."""
    losses = []
    for name, switch in (("eager", "off"), ("compiled", "on")):
        compiled: Any = switch
        job = job_in(tmp_path / name, replace(EAGER, compile=compiled))
        losses.append(train(job).valid_loss)
    assert "torch.compile failed" not in caplog.text
    assert losses[1] == pytest.approx(losses[0], rel=0.03)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_recorded_generation_gives_the_tokens_of_a_growing_cache(temperature: float) -> None:
    """In fp32, for ragged prompts, over more than a context."""
    model = TransformerLM(SHAPE, generator=torch.Generator().manual_seed(0)).cuda()
    config = GenerateConfig(max_new_tokens=150, temperature=temperature)
    prompts = [[1, 2, 3], [4, 5, 6, 7, 8, 9], [10]]
    results = [
        generate_batch(model, prompts, config=config, seeds=[0, 1, 2], fixed_slots=is_fixed)
        for is_fixed in (False, True)
    ]
    assert results[0] == results[1]


def test_too_large_a_batch_is_one_clear_message(tmp_path: Path) -> None:
    """The message names the micro-batch that would fit."""
    free = int(torch.cuda.mem_get_info()[0])
    wide = replace(SHAPE, context_length=4096, d_model=1024, num_heads=16, d_ff=4096)
    rows = max(64, free // 2**27)
    config = replace(BRIEF, batch_size=rows, max_steps=1, warmup_steps=0)
    options = replace(EAGER, micro_batch_size=rows)
    with pytest.raises(MemoryError, match=r"out of memory on cuda with micro_batch_size .*would"):
        train(job_in(tmp_path, options, config, wide))
