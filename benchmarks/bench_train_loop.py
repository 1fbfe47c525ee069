"""What the training loop costs beyond the bare step: data, metrics, spikes, checkpoints.

Runs `lm.training.train` on the course's model and, between its steps, in the same process, blocks
of the bare step (forward, backward, clip, update on a batch in memory), so that both see the same
load of the machine. A checkpoint is timed by itself and spread over the minute between two of
them, as if its thread stopped the training altogether.
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.bars import Bar
from benchmarks.result_line import print_result
from lm.checkpoint.folder import CheckpointWriter
from lm.config import ModelConfig, RunOptions, TrainConfig
from lm.machine.distributed import Processes
from lm.machine.probe import choose_plan
from lm.optim.clip import clip_gradients
from lm.optim.parameter_groups import set_learning_rates
from lm.training.job.job import Callbacks, TrainJob
from lm.training.step.run import TrainingRun, build_run, open_splits, snapshot
from lm.training.train import train

MODEL = ModelConfig()  # the course's: V 10,000, T 256, d 512, 4 layers, 16 heads, d_ff 1,344
SECONDS_BETWEEN_CHECKPOINTS = 60.0


def bare_step(run: TrainingRun, windows: torch.Tensor) -> None:
    """Take one step without anything around it."""
    run.optimizer.zero_grad(set_to_none=True)
    run.loss(windows[:, :-1], windows[:, 1:]).total.backward()  # type: ignore[no-untyped-call]  # torch's
    clip_gradients(run.model.parameters(), run.train_config.max_l2_norm)
    set_learning_rates(run.optimizer, 200, run.train_config)
    run.optimizer.step()


def timed(work: Callable[[], None]) -> float:
    """Return the seconds that a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


class Interleaving:
    """Counts the seconds of the loop's steps and runs bare steps in between."""

    def __init__(self, bare: TrainingRun, windows: torch.Tensor, block: int) -> None:
        self.bare, self.windows, self.block = bare, windows, block
        self.loop_s: list[float] = []
        self.bare_s: list[float] = []
        self.started = 0.0

    def run_bare_block(self) -> None:
        """Take as many bare steps as a block of the loop has."""
        for _ in range(self.block):
            bare_step(self.bare, self.windows)

    def on_progress(self, done: int, total: int) -> None:
        """Close a block of the loop, run one of bare steps, open the next."""
        del total
        if done % self.block:
            return
        if done > self.block:  # the first block compiles and warms up
            self.loop_s.append((time.perf_counter() - self.started) / self.block)
        seconds = timed(self.run_bare_block)
        if done > self.block:
            self.bare_s.append(seconds / self.block)
        self.started = time.perf_counter()


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Run the benchmark in a folder and return its numbers."""
    tokens = np.random.default_rng(0).integers(0, MODEL.vocab_size, 2_000_000)
    np.save(folder / "tokens.npy", tokens.astype(np.uint16))
    paths = [folder / "tokens.npy"]
    config = TrainConfig(
        batch_size=arguments.batch_size,
        max_steps=arguments.block * (arguments.blocks + 2),
        warmup_steps=0,
        precision=arguments.precision,
        valid_interval=0,
        valid_batches=1,
    )
    options = RunOptions(device="cpu", compile=arguments.compile, checkpoint_minutes=0.0)
    job = TrainJob(
        model_config=MODEL,
        train_config=config,
        options=options,
        train_shards=paths,
        valid_shards=paths,
        output_dir=folder / "run",
    )
    bare = build_run(job, choose_plan(MODEL, config, options), open_splits(job), Processes())
    interleaving = Interleaving(bare, bare.loader.load(0), arguments.block)
    train(job, Callbacks(on_progress=interleaving.on_progress))
    writer = CheckpointWriter(folder / "checkpoints", keep=2)
    bare.state = replace(bare.state, step=1)

    def checkpoint() -> None:
        writer.write(snapshot(bare, metrics_text="x" * 100_000))
        writer.wait()

    checkpoint_s = statistics.median(timed(checkpoint) for _ in range(3))
    bare.loader.close()
    writer.close()
    ratios = [a / b for a, b in zip(interleaving.loop_s, interleaving.bare_s, strict=False)]
    loop_overhead = statistics.median(ratios) - 1
    return {
        "loop_step_s": statistics.median(interleaving.loop_s),
        "bare_step_s": statistics.median(interleaving.bare_s),
        "loop_overhead": loop_overhead,
        "checkpoint_s": checkpoint_s,
        "overhead_with_checkpoints": loop_overhead + checkpoint_s / SECONDS_BETWEEN_CHECKPOINTS,
        "blocks": len(ratios),
    }


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--precision", default="bf16", choices=["fp32", "bf16"])
    parser.add_argument("--compile", default="off", choices=["off", "on"])
    parser.add_argument("--block", type=int, default=4)
    parser.add_argument("--blocks", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        numbers = measure(arguments, Path(folder))
    machine = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    bar = Bar(
        "training loop: share of time beyond the bare step",
        numbers["overhead_with_checkpoints"],
        0.03,
    )
    about = {"benchmark": "train_loop", "cpu": platform.processor(), **machine}
    print_result({**about, **vars(arguments), **numbers, "bars": [bar.to_json()]})


if __name__ == "__main__":
    main()
