"""The probe chooses from what is there, notes what is not, and chooses the same each time."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from lm.config import ModelConfig, RunOptions, TrainConfig
from lm.machine import probe
from lm.machine.backend import planned_backend
from lm.machine.probe import (
    check_precision,
    choose_device,
    choose_loss,
    choose_plan,
    is_exact,
)

CONFIG = ModelConfig()


def cpu(**changes: object) -> RunOptions:
    return RunOptions(device="cpu", **changes)  # type: ignore[arg-type]  # fields of the options


def test_the_same_machine_gives_the_same_plan() -> None:
    """A plan is a plain record, equal from one call to the next."""
    plans = [choose_plan(CONFIG, TrainConfig(), cpu()) for _ in range(2)]
    assert asdict(plans[0]) == asdict(plans[1])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_an_absent_device_is_an_error_with_the_way_out() -> None:
    """The error for a CUDA device that is not there names the devices that are."""
    with pytest.raises(
        ValueError, match=r"device \('cuda'\) is not available here; there is .*cpu"
    ):
        choose_device(RunOptions(device="cuda"))


def test_an_absent_precision_is_an_error_with_the_way_out() -> None:
    """TF32 exists on CUDA only."""
    with pytest.raises(ValueError, match=r"precision \('tf32'\) needs a CUDA device.*'cpu'"):
        choose_plan(CONFIG, TrainConfig(precision="tf32"), cpu())
    check_precision("cpu", "bf16")


def test_the_faithful_path_is_left_as_it_is() -> None:
    """With fast=False nothing is compiled, fused or rerouted."""
    plan = choose_plan(CONFIG, TrainConfig(), cpu(fast=False, compile="on"))
    assert (plan.fast, plan.compile, plan.attention, plan.fp32_matmul) == (
        False,
        False,
        "math",
        "mkl",
    )


def test_short_runs_are_not_compiled() -> None:
    """Compilation takes longer than fifty steps save."""
    short = TrainConfig(max_steps=50, warmup_steps=10)
    assert not choose_plan(CONFIG, short, cpu()).compile
    assert not choose_plan(CONFIG, TrainConfig(), cpu(compile="off")).compile


def test_no_compiler_means_eager_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no compiler is on the path, the plan is eager and says so once."""
    monkeypatch.setenv("PATH", str(tmp_path))
    plan = choose_plan(CONFIG, TrainConfig(), cpu(compile="on"))
    assert not plan.compile
    assert plan.attention == "sdpa"
    assert len(plan.notes) == 1
    assert "no compiler found for device 'cpu': running eagerly" in plan.notes[0]


def test_a_given_micro_batch_is_taken() -> None:
    """A micro-batch that is asked for is used, up to the batch."""
    for asked, expected in ((4, 4), (1000, 32)):
        assert choose_plan(CONFIG, TrainConfig(), cpu(micro_batch_size=asked)).micro_batch_size == (
            expected
        )


@pytest.mark.parametrize(
    ("batch_size", "context_length", "expected"),
    [(32, 256, 8), (8, 256, 8), (6, 256, 6), (30, 256, 10), (32, 4096, 1), (64, 16, 64)],
)
def test_a_cpu_takes_about_two_thousand_tokens_at_once(
    batch_size: int, context_length: int, expected: int
) -> None:
    """The micro-batch is the smallest divisor of the batch that gives 2,048 tokens."""
    config = replace(CONFIG, context_length=context_length)
    plan = choose_plan(config, TrainConfig(batch_size=batch_size), cpu())
    assert plan.micro_batch_size == expected
    assert plan.notes == ()


def test_too_little_memory_is_said() -> None:
    """Where memory allows less than runs at full speed, a note says what was taken."""
    plan = choose_plan(replace(CONFIG, d_ff=2**18, num_layers=64), TrainConfig(batch_size=4), cpu())
    assert plan.micro_batch_size == 1
    assert "the batch of 4 is computed in micro-batches of at most 1" in plan.notes[-1]


def test_the_loss_is_chosen_by_device_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small chunks on a CPU; on a GPU all positions, or, with little memory, a loop of few."""

    def chosen(device: str, free_gib: int, **changes: int) -> tuple[str, int]:
        monkeypatch.setattr(probe, "free_memory_bytes", lambda _: free_gib * 2**30)
        config = replace(CONFIG, vocab_size=32_000)
        return choose_loss(device, config, TrainConfig(), cpu(**changes), micro_batch_size=128)

    assert chosen("cpu", 80) == ("unrolled", 512)
    assert chosen("cuda", 80) == ("whole", 32_768)
    assert chosen("cuda", 20) == ("loop", 16_384)
    assert chosen("cuda", 80, loss_chunk=4096) == ("loop", 4096)
    assert chosen("cpu", 80, loss_chunk=4096) == ("unrolled", 4096)


def test_tokens_go_to_a_gpu_where_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the free memory at most, unless the user says where."""
    monkeypatch.setattr(probe, "free_memory_bytes", lambda _: 1000)
    place = probe.choose_token_place
    assert place("cuda", RunOptions(), size_bytes=100) == "device"
    assert place("cuda", RunOptions(), size_bytes=101) == "mapped"
    assert place("cpu", RunOptions(), size_bytes=1) == "mapped"
    assert place("cpu", RunOptions(tokens="device"), size_bytes=10**6) == "device"


def test_the_chosen_route_multiplies_in_true_fp32() -> None:
    """The route of fp32 products that the plan takes passes the check of its error."""
    assert is_exact("mkl")
    assert is_exact(choose_plan(CONFIG, TrainConfig(), cpu()).fp32_matmul)


def test_the_backend_is_put_back() -> None:
    """Threads and routing are the plan's inside, and unchanged outside."""
    plan = replace(choose_plan(CONFIG, TrainConfig(), cpu()), num_threads=1, fp32_matmul="onednn")
    before = (torch.get_num_threads(), torch.get_float32_matmul_precision())
    with planned_backend(plan):
        assert torch.get_num_threads() == 1
        assert torch.get_float32_matmul_precision() == "medium"
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == before
