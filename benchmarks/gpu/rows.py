"""One measurement of `python -m benchmarks.gpu`, in a process of its own; prints a JSON line.

    python -m benchmarks.gpu.rows ours-adamw --seconds 60

Needs torch, what `lm/` imports, and for the rows `llama` and `generate` transformers.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.gpu.peers import LlamaLoss, PlainModel, llama
from lm.accounting.flops import training_flops_per_token
from lm.config import GenerateConfig, ModelConfig, OptimizerName, RunOptions, TrainConfig
from lm.generate import generate_batch
from lm.machine.backend import planned_backend
from lm.machine.distributed import Processes
from lm.machine.peak import measure_peak_flops
from lm.machine.precision import autocast
from lm.machine.probe import choose_plan
from lm.model.transformer import TransformerLM
from lm.training.job.job import TrainJob
from lm.training.step.run import build_run, open_splits
from lm.training.step.step import take_step
from lm.training.train import train

Figures = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large everything is."""

    model: ModelConfig
    batch_size: int
    num_steps: int
    """Steps of a training; the first fifth is not counted."""
    new_tokens: int
    device: str
    compile: Any

    @property
    def tokens(self) -> int:
        """Tokens of a step."""
        return self.batch_size * self.model.context_length


COURSE = Scale(
    model=ModelConfig(), batch_size=128, num_steps=300, new_tokens=200, device="cuda", compile="on"
)
LARGE = replace(
    COURSE, model=ModelConfig(vocab_size=32_000, context_length=512), batch_size=64, num_steps=60
)
SMALL = replace(COURSE, batch_size=8, num_steps=600)

DRY = Scale(
    model=ModelConfig(
        vocab_size=64, context_length=32, d_model=32, num_layers=1, num_heads=2, d_ff=64
    ),
    batch_size=4,
    num_steps=20,
    new_tokens=8,
    device="cpu",
    compile="off",
)
"""Proves on any CPU that every row runs; its figures mean nothing."""


def synchronize(scale: Scale) -> None:
    """Wait for the device."""
    if scale.device == "cuda":
        torch.cuda.synchronize()


def timed_steps(scale: Scale, step: Callable[[], object], *, num_steps: int) -> Figures:
    """Return seconds of the first step, and the median milliseconds of a step over three parts."""
    started = time.perf_counter()
    step()
    synchronize(scale)
    first_s = time.perf_counter() - started
    for _ in range(max(1, num_steps // 10)):
        step()
    parts = []
    for _ in range(3):
        synchronize(scale)
        started = time.perf_counter()
        for _ in range(max(1, num_steps // 3)):
            step()
        synchronize(scale)
        parts.append((time.perf_counter() - started) / max(1, num_steps // 3))
    return {"first_step_s": round(first_s, 2)} | rate(scale, statistics.median(parts))


def rate(scale: Scale, step_s: float) -> Figures:
    """Return tokens/s and milliseconds of a step that takes so many seconds."""
    flops = scale.tokens / step_s * training_flops_per_token(scale.model)
    return {
        "tokens_per_second": round(scale.tokens / step_s),
        "step_ms": round(1e3 * step_s, 3),
        "tflops": round(flops / 1e12, 1),
    }


def peer(scale: Scale, module: nn.Module) -> Figures:
    """Train a peer: compiled, bf16 autocast, fused AdamW, clipped at 1."""
    device = torch.device(scale.device)
    torch.set_float32_matmul_precision("high")
    module = module.to(device)
    parameters = list(module.parameters())
    optimizer = torch.optim.AdamW(
        parameters, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    shape = (scale.batch_size, scale.model.context_length + 1)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(scale.model.vocab_size, shape, generator=generator).to(device)
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    loss_of: Any = torch.compile(module) if scale.compile == "on" else module

    def step() -> None:
        with autocast(device, "bf16"):
            loss: Tensor = loss_of(inputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return timed_steps(scale, step, num_steps=min(90, scale.num_steps))


def job_of(scale: Scale, folder: Path, optimizer: OptimizerName, options: RunOptions) -> TrainJob:
    """Return a training on random tokens, as a user would start it."""
    tokens = np.random.default_rng(0).integers(0, scale.model.vocab_size, 4_000_000)
    np.save(folder / "tokens.npy", tokens.astype(np.uint16))
    return TrainJob(
        model_config=scale.model,
        train_config=TrainConfig(
            batch_size=scale.batch_size,
            max_steps=scale.num_steps,
            warmup_steps=0,
            precision="bf16",
            optimizer=optimizer,
            valid_interval=max(1, scale.num_steps // 2),
            valid_batches=2,
        ),
        options=options,
        train_shards=[folder / "tokens.npy"],
        valid_shards=[folder / "tokens.npy"],
        output_dir=folder / "run",
    )


def options_of(scale: Scale, changes: Figures) -> RunOptions:
    """Return the options of a run, with `changes`."""
    values: Figures = {"device": scale.device, "compile": scale.compile, "checkpoint_minutes": 0.1}
    return RunOptions(**(values | changes))


def ours(scale: Scale, changes: Figures, *, optimizer: OptimizerName = "adamw") -> Figures:
    """Train as a user does, with data, metrics and checkpoints on."""
    with tempfile.TemporaryDirectory() as name:
        job = job_of(scale, Path(name), optimizer, options_of(scale, changes))
        result = train(job)
        text = (job.output_dir / "timings.jsonl").read_text()
        lines = [json.loads(line) for line in text.splitlines()]
    lines = lines[len(lines) // 5 :]
    seconds = statistics.median(line["perf/seconds_per_step"] for line in lines)
    environment = dict(result.environment)
    return rate(scale, seconds) | {
        "slowest_step_ms": round(1e3 * max(line["perf/seconds_per_step"] for line in lines), 3),
        "host_share": round(statistics.median(line["perf/host_share"] for line in lines), 3),
        "mfu": round(statistics.median(line["perf/mfu"] for line in lines), 4),
        "first_step_s": round(float(str(environment["first_step_s"])), 2),
        "train_loss": result.train_loss,
        "environment": environment,
    }


def bare(scale: Scale, changes: Figures) -> Figures:
    """Take the step of `ours` again and again, with nothing around it."""
    with tempfile.TemporaryDirectory() as name:
        job = job_of(scale, Path(name), "adamw", options_of(scale, changes))
        plan = choose_plan(scale.model, job.train_config, job.options)
        plan = replace(plan, tokens="device")
        with planned_backend(plan):
            run = build_run(job, plan, open_splits(job), Processes())

            def step() -> None:
                take_step(run)
                if run.ahead is not None:  # what the loop would read is dropped
                    run.ahead.rates.clear()
                    run.ahead.position.zero_()

            try:
                return timed_steps(scale, step, num_steps=min(90, scale.num_steps))
            finally:
                run.loader.close()


def generation(scale: Scale) -> Figures:
    """Generate greedily at batch 1, 8 and 64; tokens/s of ours and of transformers' `generate`."""
    device = torch.device(scale.device)
    model = TransformerLM(scale.model, generator=torch.Generator().manual_seed(0)).to(device)
    other = llama(scale.model, device).eval()
    config = GenerateConfig(max_new_tokens=scale.new_tokens, temperature=0.0)
    figures: Figures = {}
    for batch_size in (1, 8, 64):
        prompts = [
            [(7 * i + j) % scale.model.vocab_size for j in range(16)] for i in range(batch_size)
        ]
        ids = torch.tensor(prompts, device=device)

        def ours_once(prompts: list[list[int]] = prompts) -> None:
            generate_batch(model, prompts, config=config, seeds=[0] * len(prompts))

        def theirs_once(ids: Tensor = ids) -> None:
            other.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=scale.new_tokens,
                min_new_tokens=scale.new_tokens,
                do_sample=False,
                pad_token_id=0,
            )

        for name, work in (("ours", ours_once), ("transformers", theirs_once)):
            work()
            seconds = []
            for _ in range(3):
                synchronize(scale)
                started = time.perf_counter()
                work()
                synchronize(scale)
                seconds.append(time.perf_counter() - started)
            count = batch_size * scale.new_tokens
            figures[f"{name}_{batch_size}"] = round(count / statistics.median(seconds))
    return figures


def peaks(scale: Scale) -> Figures:
    """Measure the largest products with random data."""
    device = torch.device(scale.device)
    bf16 = measure_peak_flops(device, "bf16") / 1e12
    return {"peak_bf16_tflops": round(bf16, 1)}


def row(name: str, scale: Scale, changes: Figures) -> Figures:
    """Measure one row."""
    is_dry = scale.device == "cpu"
    large, small = (DRY, DRY) if is_dry else (LARGE, SMALL)
    rows: dict[str, Callable[[], Figures]] = {
        "peaks": lambda: peaks(scale),
        "plain": lambda: peer(scale, PlainModel(scale.model)),
        "llama": lambda: peer(scale, LlamaLoss(llama(scale.model, torch.device(scale.device)))),
        "ours-adamw": lambda: ours(scale, changes),
        "ours-adamw-again": lambda: ours(replace(scale, num_steps=20), changes),
        "ours-bare": lambda: bare(scale, changes),
        "ours-muon": lambda: ours(scale, changes, optimizer="muon"),
        "plain-large": lambda: peer(large, PlainModel(large.model)),
        "ours-large": lambda: ours(large, changes),
        "plain-small": lambda: peer(small, PlainModel(small.model)),
        "ours-small": lambda: ours(small, changes),
        "generate": lambda: generation(scale),
    }
    if name not in rows:
        raise SystemExit(f"row ({name!r}) must be one of {', '.join(rows)}")
    return rows[name]()


def main() -> None:
    """Measure one row and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE")
    arguments = parser.parse_args()
    changes = dict(setting.split("=", 1) for setting in arguments.set)
    typed = {name: int(value) if value.isdigit() else value for name, value in changes.items()}
    figures = row(arguments.name, DRY if arguments.dry else COURSE, typed)
    is_on_gpu = not arguments.dry
    about = {
        "row": arguments.name,
        "card": torch.cuda.get_device_name() if is_on_gpu else "",
        "torch": torch.__version__,
        "options": changes,
    }
    if is_on_gpu:
        figures["memory_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    print(json.dumps(about | figures), flush=True)


if __name__ == "__main__":
    main()
