"""The language model: modules, loss, optimizers, training, evaluation, generation."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lm.config import EvaluateConfig as EvaluateConfig
    from lm.config import GenerateConfig as GenerateConfig
    from lm.config import ModelConfig as ModelConfig
    from lm.config import RunOptions as RunOptions
    from lm.config import TrainConfig as TrainConfig

_HOMES = {
    "EvaluateConfig": "lm.config",
    "GenerateConfig": "lm.config",
    "ModelConfig": "lm.config",
    "RunOptions": "lm.config",
    "TrainConfig": "lm.config",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562), so that `import lm` loads no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lm' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
