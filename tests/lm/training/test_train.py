"""Tests of `lm/training/train.py` and of what it uses: loop, step, run, outputs, resume."""

import _thread
import importlib
import json
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lm.checkpoint.durable import TENSORS_NAME, read_checkpoint
from lm.checkpoint.folder import list_checkpoints
from lm.checkpoint.weights import load_model
from lm.config import ModelConfig, RunOptions, TrainConfig
from lm.training.job.job import Callbacks, TrainingStoppedError, TrainJob, TrainResult
from lm.training.train import train

TINY = ModelConfig(vocab_size=64, context_length=16, d_model=32, num_layers=2, num_heads=2, d_ff=64)
BRIEF = TrainConfig(
    batch_size=8,
    max_steps=12,
    warmup_steps=2,
    log_interval=2,
    valid_interval=5,
    valid_batches=2,
)
PLAIN = RunOptions(compile="off", device="cpu", num_threads=1)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tokens to learn from: the next is mostly the present one plus three."""
    folder = tmp_path_factory.mktemp("shards")
    generator = np.random.default_rng(0)
    steps = np.where(generator.random(20_000) < 0.9, 3, generator.integers(0, 64, 20_000))
    tokens = (np.cumsum(steps) % 64).astype(np.uint16)
    for name, part in (("train", tokens[:18_000]), ("valid", tokens[18_000:])):
        np.save(folder / f"{name}.npy", part)
    return folder


@pytest.fixture
def job(tmp_path: Path, shards: Path) -> TrainJob:
    """A brief run of a tiny model on those tokens, in the test's own folder."""
    return TrainJob(
        model_config=TINY,
        train_config=BRIEF,
        options=PLAIN,
        train_shards=[shards / "train.npy"],
        valid_shards=[shards / "valid.npy"],
        output_dir=tmp_path,
    )


def lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def final_tensors(job: TrainJob) -> Mapping[str, Tensor]:
    """Read everything the last checkpoint of a run holds."""
    return read_checkpoint(list_checkpoints(job.checkpoints)[-1][1]).tensors


def assert_same_run(left: TrainJob, right: TrainJob) -> None:
    """Compare weights, averages, optimizer state and metrics of two runs bit for bit."""
    expected, found = final_tensors(left), final_tensors(right)
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    for name in ("model.safetensors", "config.json", "metrics.jsonl"):
        assert (left.output_dir / name).read_bytes() == (right.output_dir / name).read_bytes(), name


VARIANTS = {
    "adamw": (BRIEF, PLAIN),
    "muon": (replace(BRIEF, optimizer="muon"), PLAIN),
    "accumulation": (BRIEF, replace(PLAIN, micro_batch_size=3)),
    "average": (replace(BRIEF, ema_decay=0.9), PLAIN),
    "faithful": (replace(BRIEF, sampling="with_replacement"), replace(PLAIN, fast=False)),
    "bf16": (replace(BRIEF, precision="bf16", z_loss=1e-4), PLAIN),
}


class StopTraining(BaseException):
    """What an orchestrator raises to stop a task; not an Exception."""


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_interrupted_run_ends_as_an_undisturbed_one(
    tmp_path: Path, job: TrainJob, variant: str
) -> None:
    """Stopped twice and resumed: weights, optimizer, average, metrics are equal bit for bit."""
    config, options = VARIANTS[variant]
    whole = replace(job, train_config=config, options=options, output_dir=tmp_path / "whole")
    parts = replace(whole, output_dir=tmp_path / "parts")
    train(whole)
    for stop_at in (3, 7):

        def stop(done: int, total: int, stop_at: int = stop_at) -> None:
            assert total == config.max_steps
            if done == stop_at:
                raise StopTraining

        with pytest.raises(StopTraining):
            train(parts, Callbacks(on_progress=stop))
        assert list_checkpoints(parts.checkpoints)[-1][0] == stop_at
    result = train(parts)
    assert_same_run(whole, parts)
    assert 0 < result.seconds_before < result.seconds


@pytest.mark.parametrize("delay_s", [0.05, 0.3])
# An interrupt within Hypothesis' own callback of the garbage collector is lost there.
@pytest.mark.filterwarnings("ignore:.*gc_callback:pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_at_any_moment_loses_nothing(
    tmp_path: Path, job: TrainJob, delay_s: float
) -> None:
    """A KeyboardInterrupt at a random moment, then resumed: as if it had not happened."""
    config = replace(BRIEF, max_steps=30, optimizer="muon")
    whole = replace(job, train_config=config, output_dir=tmp_path / "whole")
    parts = replace(whole, output_dir=tmp_path / "parts")
    train(whole)
    started = threading.Event()

    def interrupt() -> None:
        started.wait()
        time.sleep(delay_s)
        _thread.interrupt_main()

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        train(parts, Callbacks(on_first_batch=lambda _: started.set()))
        thread.join()
        time.sleep(0.1)  # trained faster than the delay: the interrupt comes here
    except KeyboardInterrupt:
        thread.join()
    train(parts)
    assert_same_run(whole, parts)


def test_training_learns_and_reports(tmp_path: Path, job: TrainJob) -> None:
    """The loss falls well below the uniform one; lines, callbacks, result and files agree."""
    seen: list[tuple[int, Mapping[str, Any]]] = []
    first_batch: list[list[int]] = []
    callbacks = Callbacks(
        on_metrics=lambda step, metrics: seen.append((step, metrics)),
        on_first_batch=first_batch.extend,
    )
    result = train(replace(job, train_config=replace(BRIEF, max_steps=60)), callbacks)
    metrics, timings = lines(tmp_path / "metrics.jsonl"), lines(tmp_path / "timings.jsonl")
    train_lines = [line for line in metrics if "train/loss" in line]
    valid_lines = [line for line in metrics if "valid/loss" in line]
    assert [line["step"] for line in train_lines] == list(range(2, 61, 2))
    assert [line["step"] for line in valid_lines] == list(range(5, 61, 5))
    assert all(line["valid/is_sampled"] for line in valid_lines)
    assert train_lines[0]["train/loss"] > 3.9
    assert valid_lines[-1]["valid/loss"] < 3.0
    assert valid_lines[-1]["valid/num_tokens"] == 2 * 8 * 16
    assert train_lines[-1]["tokens_seen"] == result.tokens_seen == 60 * 8 * 16
    assert result.valid_loss == valid_lines[-1]["valid/loss"]
    assert result.deterministic
    assert not result.diverged
    assert len(seen) == len(metrics) + len(timings)
    assert timings[-1]["perf/tokens_per_second"] > 0
    assert 0 <= timings[-1]["perf/data_wait_share"] <= 1
    assert 0 < timings[-1]["perf/mfu"] < 1
    assert np.array(first_batch).shape == (8, 17)
    assert load_model(tmp_path).config == TINY
    environment: dict[str, Any] = dict(result.environment)
    assert environment["micro_batch_size"] == 8
    assert environment["first_step_s"] > 0
    assert environment["peak_memory_bytes"] > environment["predicted_memory_bytes"]


def test_a_finished_run_is_not_repeated(tmp_path: Path, job: TrainJob) -> None:
    """Called again, training takes no step and gives the same result and files."""
    first = train(job)
    content = (tmp_path / "metrics.jsonl").read_bytes()
    steps: list[int] = []
    second = train(job, Callbacks(on_progress=lambda done, total: steps.append(total - done)))
    assert steps == [0]
    assert (tmp_path / "metrics.jsonl").read_bytes() == content
    assert comparable(second) == comparable(first)


def comparable(result: TrainResult) -> TrainResult:
    """Take out of a result what depends on the machine."""
    return replace(result, seconds=0.0, seconds_before=0.0, environment={})


def test_a_seed_determines_the_curve(tmp_path: Path, job: TrainJob) -> None:
    """The same seed gives the same bytes, also with two threads; another seed another curve."""
    jobs = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        jobs[name] = replace(
            job,
            train_config=replace(BRIEF, seed=seed, max_steps=4),
            options=replace(PLAIN, num_threads=2),
            output_dir=tmp_path / name,
        )
        train(jobs[name])
    assert_same_run(jobs["a"], jobs["b"])
    metrics = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in "bc"]
    assert metrics[0] != metrics[1]


def test_the_micro_batch_changes_rounding_only(tmp_path: Path, job: TrainJob) -> None:
    """Accumulated over uneven micro-batches, the weights agree within fp32 rounding."""
    config = replace(BRIEF, max_steps=3)
    for size in (8, 3):
        options = replace(PLAIN, micro_batch_size=size)
        train(replace(job, train_config=config, options=options, output_dir=tmp_path / str(size)))
    left, right = (load_file(tmp_path / size / "model.safetensors") for size in ("8", "3"))
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=1e-3, atol=2e-5)


def test_a_resumed_run_keeps_the_choices_that_change_rounding(
    job: TrainJob,
) -> None:
    """Micro-batch and threads of the first part win over the options of the second."""
    train(replace(job, options=replace(PLAIN, micro_batch_size=4)))
    result = train(replace(job, options=replace(PLAIN, num_threads=2)))
    assert result.environment["micro_batch_size"] == 4
    assert result.environment["num_threads"] == 1


def test_checkpoints_of_another_configuration_are_refused(tmp_path: Path, job: TrainJob) -> None:
    """The error names every field that differs, and nothing is overwritten."""
    train(replace(job, train_config=replace(BRIEF, max_steps=2)))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    other = replace(BRIEF, max_steps=2, seed=5, betas=(0.9, 0.99))
    with pytest.raises(ValueError, match=r"train_lm\.betas was \[0\.9, 0\.95\].*seed was 0, now 5"):
        train(replace(job, train_config=other))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, job: TrainJob, caplog: pytest.LogCaptureFixture
) -> None:
    """Resumed from the older one, the run still ends in the same bytes."""
    options = replace(PLAIN, checkpoint_steps=3)
    whole = replace(job, options=options, output_dir=tmp_path / "whole")
    parts = replace(whole, output_dir=tmp_path / "parts")
    train(whole)
    train(parts)
    newest = list_checkpoints(parts.checkpoints)[-1][1]
    (newest / TENSORS_NAME).write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        train(parts)
    assert "falling back" in caplog.text
    assert_same_run(whole, parts)


def test_metrics_that_were_lost_come_back_from_the_checkpoint(
    tmp_path: Path, job: TrainJob
) -> None:
    """A run whose checkpoints alone were saved elsewhere has its whole curve again."""
    train(job)
    content = (tmp_path / "metrics.jsonl").read_bytes()
    (tmp_path / "metrics.jsonl").unlink()
    train(job)
    assert (tmp_path / "metrics.jsonl").read_bytes() == content


@pytest.mark.parametrize(
    ("model_config", "message"),
    [
        (replace(TINY, vocab_size=60), "token id 6[0-3].*ids below 60"),
        (replace(TINY, context_length=3000), "fewer than one window"),
    ],
)
def test_shards_that_do_not_fit_are_refused_before_anything_is_written(
    tmp_path: Path, job: TrainJob, model_config: ModelConfig, message: str
) -> None:
    """Unknown ids and too little text are one clear error each."""
    with pytest.raises(ValueError, match=message):
        train(replace(job, model_config=model_config, output_dir=tmp_path / "x"))
    assert not (tmp_path / "x").exists()


def test_more_processes_than_there_are_is_an_error(job: TrainJob) -> None:
    """Asking for two processes in one names the way to start two."""
    with pytest.raises(ValueError, match=r"num_processes \(2\).*torchrun_command"):
        train(replace(job, options=RunOptions(num_processes=2)))


def test_a_budget_counts_the_time_before_a_resumption(tmp_path: Path, job: TrainJob) -> None:
    """A run that was stopped gets no second budget, and knows what its ending will take."""
    job = replace(job, train_config=replace(BRIEF, max_minutes=5.0))

    def stop_after_a_while() -> bool:
        time.sleep(0.2)
        return True

    with pytest.raises(TrainingStoppedError):
        train(job, Callbacks(stop_requested=stop_after_a_while))
    _, newest = list_checkpoints(tmp_path / "checkpoints")[-1]
    state = read_checkpoint(newest).facts["state"]
    assert state["validation_s"] > 0
    started = time.perf_counter()
    resumed = train(job)
    assert resumed.step == BRIEF.max_steps
    assert resumed.seconds >= state["elapsed_s"] + time.perf_counter() - started - 0.1


def test_a_clock_ends_the_run_in_time_and_marks_it(tmp_path: Path, job: TrainJob) -> None:
    """A budget of four seconds is kept, validation included; the rate has come down by then."""
    importlib.import_module("torch._dynamo")  # seconds, which the first optimizer would take
    config = replace(BRIEF, max_steps=10**6, max_minutes=4 / 60, log_interval=1)
    result = train(replace(job, train_config=config))
    metrics = lines(tmp_path / "metrics.jsonl")
    assert (result.deterministic, result.nondeterminism) == (False, "clock")
    assert result.seconds < 7  # the budget, and a busy machine
    assert result.step > BRIEF.warmup_steps
    assert metrics[0]["step"] == 0
    assert "valid/loss" in metrics[0]
    assert result.valid_loss is not None
    rates = [line["train/learning_rate"] for line in metrics if "train/learning_rate" in line]
    assert rates[-1] < 0.2 * max(rates)
