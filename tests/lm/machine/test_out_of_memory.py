"""Out of memory names the micro-batch that would fit; other errors pass unchanged."""

import re

import pytest
import torch

from lm.accounting.memory import training_memory
from lm.config import ModelConfig, RunOptions, TrainConfig
from lm.machine.out_of_memory import explain_out_of_memory, out_of_memory_message
from lm.machine.probe import choose_plan

MODEL = ModelConfig()
TRAIN = TrainConfig(batch_size=64)
PLAN = choose_plan(MODEL, TRAIN, RunOptions(device="cpu", micro_batch_size=64))


def test_the_named_micro_batch_fits() -> None:
    """The setting in the message takes no more memory than is free."""
    free_bytes = 2 * 2**30
    message = out_of_memory_message(MODEL, TRAIN, PLAN, free_bytes=free_bytes)
    found = re.search(r"micro_batch_size=(\d+) would", message)
    assert found is not None
    fitting = int(found[1])
    assert 1 < fitting < 64
    assert sum(training_memory(MODEL, micro_batch_size=fitting).values()) <= free_bytes


def test_an_allocation_that_fails_is_explained() -> None:
    """Torch's error on the CPU becomes a MemoryError with the way out, and keeps its cause."""
    with (
        pytest.raises(MemoryError, match=r"micro_batch_size \(64\).* would take about") as raised,
        explain_out_of_memory(MODEL, TRAIN, PLAN),
    ):
        torch.empty(2**62, dtype=torch.uint8)
    assert isinstance(raised.value.__cause__, RuntimeError)


def test_other_errors_pass() -> None:
    """An error that has nothing to do with memory is not changed."""
    with pytest.raises(RuntimeError, match="shape"), explain_out_of_memory(MODEL, TRAIN, PLAN):
        raise RuntimeError("wrong shape")
