"""The language model: modules, loss, optimizers, training, evaluation, generation."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lm.checkpoint import load_model as load_model
    from lm.config import EvaluateConfig as EvaluateConfig
    from lm.config import GenerateConfig as GenerateConfig
    from lm.config import ModelConfig as ModelConfig
    from lm.config import RunOptions as RunOptions
    from lm.config import TrainConfig as TrainConfig
    from lm.evaluate import evaluate_model as evaluate_model
    from lm.generate import generate_batch as generate_batch
    from lm.model import TransformerLM as TransformerLM

_HOMES = {
    "EvaluateConfig": "lm.config",
    "GenerateConfig": "lm.config",
    "ModelConfig": "lm.config",
    "RunOptions": "lm.config",
    "TrainConfig": "lm.config",
    "TransformerLM": "lm.model",
    "evaluate_model": "lm.evaluate",
    "generate_batch": "lm.generate",
    "load_model": "lm.checkpoint",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562), so that `import lm` loads no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lm' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
