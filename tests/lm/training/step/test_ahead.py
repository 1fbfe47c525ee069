"""Steps that the device decides: as the host would, without asking it, and read in time."""

import json
import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lm.checkpoint.durable import read_checkpoint
from lm.checkpoint.folder import list_checkpoints, newest_intact
from lm.config import ModelConfig, RunOptions, TrainConfig
from lm.loss import Loss
from lm.machine.cuda_graph import Work
from lm.machine.distributed import Processes
from lm.machine.probe import choose_plan
from lm.training.job.job import Callbacks, TrainingStoppedError, TrainJob
from lm.training.loop import run_to_the_end
from lm.training.outputs import open_outputs
from lm.training.step.ahead import decide, new_ahead
from lm.training.step.compiled import LossFunction
from lm.training.step.run import TrainingRun, build_run, open_splits, restore
from lm.training.step.spikes import is_spike, remember
from lm.training.step.state import WINDOW, TrainState, state_from_json
from lm.training.step.step import take_step, update_on_device
from lm.training.step.step_graph import StepGraph
from lm.training.train import train

TINY = ModelConfig(vocab_size=64, context_length=16, d_model=32, num_layers=2, num_heads=2, d_ff=64)
BRIEF = TrainConfig(
    batch_size=4, max_steps=30, warmup_steps=2, log_interval=6, valid_interval=0, valid_batches=1
)
ON_DEVICE = RunOptions(
    device="cpu", compile="off", num_threads=1, decisions="device", tokens="device"
)


class NoHost(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's
    """Raises where an operation would make the host wait for a device."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Pass an operation on, unless its result depends on values or leaves the device."""
        name = func.overloadpacket.__name__
        assert name not in ("_local_scalar_dense", "nonzero", "is_nonzero", "equal"), name
        device = (kwargs or {}).get("device")
        assert device is None or torch.device(device).type == "cpu", name
        return func(*args, **(kwargs or {}))


def job_in(folder: Path, config: TrainConfig, options: RunOptions = ON_DEVICE) -> TrainJob:
    """A job on random tokens, in a folder of its own."""
    folder.mkdir(exist_ok=True)
    tokens = np.random.default_rng(0).integers(0, 64, 4000).astype(np.uint16)
    np.save(folder / "tokens.npy", tokens)
    return TrainJob(
        model_config=TINY,
        train_config=config,
        options=options,
        train_shards=[folder / "tokens.npy"],
        valid_shards=[folder / "tokens.npy"],
        output_dir=folder / "run",
    )


def new_run(job: TrainJob) -> TrainingRun:
    """Build a run at step 0."""
    plan = choose_plan(job.model_config, job.train_config, job.options)
    plan = replace(plan, tokens="device")
    return build_run(job, plan, open_splits(job), Processes())


@pytest.fixture
def run(tmp_path: Path) -> Iterator[TrainingRun]:
    """A run with averaged weights, Muon and accumulation, decided on the device."""
    config = replace(BRIEF, ema_decay=0.9, optimizer="muon")
    run = new_run(job_in(tmp_path, config, replace(ON_DEVICE, micro_batch_size=2)))
    yield run
    run.loader.close()


def test_a_step_asks_the_host_nothing(run: TrainingRun) -> None:
    """After the first one, which makes the moments, no operation reads a value back."""
    take_step(run)
    with NoHost():  # type: ignore[no-untyped-call]  # torch's
        take_step(run)
        with pytest.raises(AssertionError, match="_local_scalar_dense"):
            float(torch.ones(()))
    assert (run.step, run.state.step) == (2, 0)


def test_a_recorded_step_takes_new_windows_and_rates(tmp_path: Path) -> None:
    """Replayed from the fourth step on, through fixed tensors: the same state and weights."""
    recordings: list[Work] = []

    def record(work: Work) -> Work:
        recordings.append(work)
        return work

    runs = []
    config = replace(BRIEF, log_interval=12)
    for name in ("plain", "graph"):
        run = new_run(job_in(tmp_path / name, config))
        if name == "graph":
            assert run.ahead is not None
            step = partial(update_on_device, run, run.ahead)
            run.graph = StepGraph(step, 2, run.device, record=record)
        for _ in range(6):
            take_step(run)
        run.loader.close()
        runs.append([parameter.detach() for parameter in run.model.parameters()])
    assert len(recordings) == 1
    for left, right in zip(*runs, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=1e-5)


def test_a_step_that_cannot_be_recorded_is_taken_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One warning, and each step is done once."""

    def refuse(work: Work) -> Work:
        raise RuntimeError("operation not permitted when stream is capturing")

    taken: list[float] = []
    graph = StepGraph(
        lambda windows, rates: taken.append(float(windows.sum()) + float(rates[0])),
        1,
        torch.device("cpu"),
        record=refuse,
    )
    for number in range(6):
        graph.take(torch.full((1, 1), number), [0.5])
    assert taken == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("spoiled", [math.nan, 1e3])
def test_the_device_decides_as_the_host_does(spoiled: float) -> None:
    """Over 300 noisy steps, some spoiled, the same ones are skipped; the memory is the same."""
    ahead = new_ahead(torch.device("cpu"), log_interval=1000)
    values = torch.randn(300, 2, generator=torch.Generator().manual_seed(0)).abs() + 2
    values[[20, 150, 151, 290], [0, 1, 0, 1]] = spoiled
    recent: tuple[tuple[float, ...], ...] = ((), ())
    for loss, norm in values:
        pairs = list(zip((float(loss), float(norm)), recent, strict=True))
        expected = any(is_spike(value, past, sigma=4.0) for value, past in pairs)
        if not expected:
            recent = tuple(remember(past, value) for value, past in pairs)
        assert bool(decide(ahead, loss, norm, sigma=4.0)) is expected
    assert len(recent[0]) == WINDOW
    assert sorted(ahead.recent[0].tolist()) == sorted(recent[0])


def lines(folder: Path) -> list[dict[str, Any]]:
    """Read the metrics of a run."""
    text = (folder / "run" / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_training_is_that_of_the_host(tmp_path: Path, optimizer: Any) -> None:
    """Lines of the same steps, and losses and weights within rounding."""
    config = replace(BRIEF, optimizer=optimizer, ema_decay=0.9, valid_interval=10)
    plain = RunOptions(device="cpu", compile="off", num_threads=1)
    for name, options in (("host", plain), ("device", ON_DEVICE)):
        train(job_in(tmp_path / name, config, options))
    ours, theirs = lines(tmp_path / "device"), lines(tmp_path / "host")
    assert [(line["step"], line.keys()) for line in ours] == [
        (line["step"], line.keys()) for line in theirs
    ]
    for left, right in zip(ours, theirs, strict=True):
        assert left == pytest.approx(right, rel=1e-2 if optimizer == "muon" else 1e-4)
    left, right = (
        load_file(tmp_path / name / "run" / "model.safetensors") for name in ("device", "host")
    )
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=0, atol=5e-3)


class StopTraining(BaseException):
    """What an orchestrator raises to stop a task; not an Exception."""


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_an_interrupted_run_ends_as_an_undisturbed_one(tmp_path: Path, optimizer: Any) -> None:
    """Stopped twice while steps are unread, and resumed: equal bit for bit."""
    config = replace(BRIEF, optimizer=optimizer, ema_decay=0.9, valid_interval=10)
    whole, parts = (job_in(tmp_path / name, config) for name in ("whole", "parts"))
    train(whole)
    for stop_at in (4, 16):

        def stop(done: int, total: int, stop_at: int = stop_at) -> None:
            if done == stop_at and total:
                raise StopTraining

        with pytest.raises(StopTraining):
            train(parts, Callbacks(on_progress=stop))
        assert list_checkpoints(parts.checkpoints)[-1][0] >= stop_at
    train(parts)
    final = [read_checkpoint(list_checkpoints(job.checkpoints)[-1][1]) for job in (whole, parts)]
    assert [
        name
        for name, tensor in final[0].tensors.items()
        if not torch.equal(tensor, final[1].tensors[name])
    ] == []
    for file in ("metrics.jsonl", "model.safetensors"):
        assert (whole.output_dir / file).read_bytes() == (parts.output_dir / file).read_bytes()


class SpoiledLoss:
    """A loss whose gradient is not finite in some steps."""

    def __init__(self, loss: LossFunction, steps: range, first_step: int) -> None:
        self.loss, self.steps, self.step = loss, steps, first_step

    def __call__(self, inputs: Tensor, targets: Tensor) -> Loss:
        """Compute the loss, spoiled if this is one of the steps."""
        result = self.loss(inputs, targets)
        factor = float("nan") if self.step in self.steps else 1.0
        self.step += 1
        return Loss(result.total * factor, result.cross_entropy)


def run_spoiled(
    folder: Path, config: TrainConfig, spoiled: range, *, stop_before: int = -1
) -> tuple[list[dict[str, Any]], TrainState]:
    """Train or resume with some steps spoiled; return the metrics and the last state."""
    job = job_in(folder, config)
    run = new_run(job)
    run.anchor_interval = 8
    checkpoint = newest_intact(job.checkpoints)
    if checkpoint is not None:
        restore(run, checkpoint)
    run.loss = SpoiledLoss(run.loss, spoiled, run.step)
    run.peak_flops = 1.0
    text = None if checkpoint is None else checkpoint.facts["metrics"]
    callbacks = Callbacks(stop_requested=lambda: run.step == stop_before)
    outputs = open_outputs(job, callbacks, run.processes, metrics_text=text)
    with closing(run.loader), closing(outputs):
        run_to_the_end(run, outputs)
    state = read_checkpoint(list_checkpoints(job.checkpoints)[-1][1]).facts["state"]
    return lines(folder), state_from_json(state)


SPIKY = replace(BRIEF, max_spikes=3, log_interval=8)


def test_a_spoiled_step_is_skipped_and_told(tmp_path: Path) -> None:
    """Two bad steps give the lines and the count that the host would give."""
    metrics, state = run_spoiled(tmp_path, SPIKY, range(10, 12))
    assert (state.step, state.num_skipped, state.diverged) == (30, 2, False)
    spikes = [line for line in metrics if "spike/loss" in line]
    assert [line["step"] for line in spikes] == [11, 12]
    assert spikes[0]["spike/gradient_norm"] is None
    assert not any(line["spike/is_rolled_back"] for line in spikes)


def test_a_roll_back_comes_at_most_a_log_interval_later(tmp_path: Path) -> None:
    """Three bad steps would do; from step 13 on the host sees it at 16, and anchor 8 is back."""
    metrics, state = run_spoiled(tmp_path, replace(SPIKY, max_steps=16), range(10, 30))
    spikes = {
        line["step"]: line["spike/is_rolled_back"] for line in metrics if "spike/loss" in line
    }
    assert spikes == {11: False, 12: False, 13: False, 14: False, 15: False, 16: True}
    assert (state.rolled_back_to, state.rolled_back_at) == (8, 16)
    anchor = read_checkpoint(tmp_path / "run" / "checkpoints" / "step-00000008").tensors
    weights = load_file(tmp_path / "run" / "model.safetensors")
    assert all(torch.equal(weights[name], anchor[f"model.{name}"]) for name in weights)


def test_spikes_that_do_not_end_give_the_run_up(tmp_path: Path) -> None:
    """Back once, then diverged, at steps where the host looks."""
    _, state = run_spoiled(tmp_path, SPIKY, range(10, 30))
    assert state.diverged
    assert (state.step, state.rolled_back_at) == (24, 16)


@pytest.mark.parametrize("stop_before", [13, 16, 17])
def test_a_run_stopped_around_the_roll_back_ends_in_the_same_bytes(
    tmp_path: Path, stop_before: int
) -> None:
    """Where the run is stopped, and so read, changes nothing about when it goes back."""
    run_spoiled(tmp_path / "whole", SPIKY, range(10, 18))
    with pytest.raises(TrainingStoppedError, match=f"after step {stop_before}"):
        run_spoiled(tmp_path / "parts", SPIKY, range(10, 18), stop_before=stop_before)
    run_spoiled(tmp_path / "parts", SPIKY, range(10, 18))
    for file in ("metrics.jsonl", "model.safetensors"):
        whole, parts = (tmp_path / name / "run" / file for name in ("whole", "parts"))
        assert whole.read_bytes() == parts.read_bytes()


def test_timings_count_every_step_but_the_first(tmp_path: Path) -> None:
    """Seconds of the host and of the whole are told, and steps read late are counted."""
    train(job_in(tmp_path, BRIEF))
    text = (tmp_path / "run" / "timings.jsonl").read_text()
    timings = [json.loads(line) for line in text.splitlines()]
    assert [line["step"] for line in timings] == [6, 12, 18, 24, 30]
    assert all(line["perf/tokens_per_second"] > 0 for line in timings)
    assert all(line["perf/host_share"] > 0 for line in timings)
