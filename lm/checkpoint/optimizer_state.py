"""Optimizer state as named tensors and plain JSON, and back, without pickle.

Works for any `torch.optim.Optimizer` whose state holds tensors and plain numbers. Tensors are
named `<index of the parameter>.<name>`, in the order of the parameter groups.
"""

import torch
from torch import Tensor

from lm.checkpoint.durable import JsonObject


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], JsonObject]:
    """Split an optimizer's state into tensors by name and a rest that JSON can hold."""
    state_dict = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, JsonObject] = {}
    for index, values in state_dict["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{name}"] = value
            else:
                numbers.setdefault(str(index), {})[name] = value
    return tensors, {"numbers": numbers, "param_groups": state_dict["param_groups"]}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], rest: JsonObject
) -> None:
    """Restore what `flatten_optimizer` split, also when the rest was written as JSON.

    Raises:
        ValueError: The optimizer has other parameter groups.
    """
    state: dict[int, dict[str, object]] = {}
    for name, tensor in tensors.items():
        index, _, field = name.partition(".")
        state.setdefault(int(index), {})[field] = tensor
    for index, values in rest["numbers"].items():
        state.setdefault(int(index), {}).update(values)
    groups = [
        {
            key: tuple(value) if isinstance(value, list) and key != "params" else value
            for key, value in group.items()
        }
        for group in rest["param_groups"]
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
