"""Tests of `lm/checkpoint/optimizer_state.py`."""

import json

import torch
from torch import nn

from lm.checkpoint.optimizer_state import flatten_optimizer, restore_optimizer


def test_plain_numbers_and_tensors_of_any_optimizer_come_back() -> None:
    """Tensors by name, numbers by JSON: both are in the restored state."""
    parameter = nn.Parameter(torch.zeros(2))
    first, second = (torch.optim.SGD([parameter], lr=0.1, momentum=0.9) for _ in range(2))
    first.state[parameter] = {"momentum_buffer": torch.tensor([1.0, 2.0]), "count": 3}
    tensors, rest = flatten_optimizer(first)
    assert list(tensors) == ["0.momentum_buffer"]
    restore_optimizer(second, tensors, json.loads(json.dumps(rest)))
    assert second.state[parameter]["count"] == 3
    assert second.state[parameter]["momentum_buffer"].tolist() == [1.0, 2.0]
