"""Which optimizer updates which parameter, at which rate and decay.

Each group carries `kind` ("adamw" or "muon") and `max_learning_rate`, its peak; the schedule
scales all groups by the same factor.
"""

import torch
from torch import nn

from lm.config import TrainConfig
from lm.model.transformer import TransformerLM
from lm.optim.adamw import AdamW, ParameterGroup
from lm.optim.muon import Muon
from lm.optim.schedule import learning_rate_factor


def is_muon_parameter(name: str, parameter: nn.Parameter) -> bool:
    """Tell whether Muon may update it: the blocks' matrices, not embeddings, head or gains."""
    return name.startswith("layers.") and parameter.dim() == 2


def is_decayed(parameter: nn.Parameter) -> bool:
    """Tell whether weight decay applies: to matrices, not to gains and mixing shares."""
    return parameter.dim() >= 2


def parameter_groups(model: TransformerLM, config: TrainConfig) -> list[ParameterGroup]:
    """Return the groups of the model's parameters in the order of its state dict, none empty."""
    members: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        uses_muon = config.optimizer == "muon" and is_muon_parameter(name, parameter)
        key = ("muon" if uses_muon else "adamw", is_decayed(parameter))
        members.setdefault(key, []).append(parameter)
    return [
        _group(kind, parameters, config.weight_decay if decayed else 0.0, config)
        for (kind, decayed), parameters in sorted(members.items(), key=lambda item: item[0])
    ]


def _group(
    kind: str, parameters: list[nn.Parameter], weight_decay: float, config: TrainConfig
) -> ParameterGroup:
    peak = config.muon_learning_rate if kind == "muon" else config.max_learning_rate
    group: ParameterGroup = {
        "params": parameters,
        "kind": kind,
        "max_learning_rate": peak,
        "lr": peak,
        "weight_decay": weight_decay,
    }
    if kind == "muon":
        return group | {"momentum": config.muon_momentum}
    return group | {"betas": config.betas, "eps": config.eps}


def build_optimizer(
    model: TransformerLM, config: TrainConfig, *, fast: bool = True
) -> AdamW | Muon:
    """Return the optimizer that the config names; `fast` uses torch's fused AdamW kernel."""
    groups = parameter_groups(model, config)
    return Muon(groups, fused=fast) if config.optimizer == "muon" else AdamW(groups, fused=fast)


def set_learning_rates(
    optimizer: torch.optim.Optimizer,
    step: int,
    config: TrainConfig,
    *,
    clock_share: float | None = None,
) -> float:
    """Set each group's rate for `step` (the first is 0); return AdamW's."""
    factor = learning_rate_factor(step, config, clock_share=clock_share)
    for group in optimizer.param_groups:
        group["lr"] = group["max_learning_rate"] * factor
    return factor * config.max_learning_rate
