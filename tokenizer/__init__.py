"""Byte-pair encoding: count pretokens, train merges, encode text to token ids, decode ids."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizer.config import TokenizerConfig
    from tokenizer.decode import IncrementalDecoder
    from tokenizer.patterns import PATTERNS
    from tokenizer.tokenizer import Tokenizer
    from tokenizer.vocabulary import Vocabulary, load_vocabulary, save_vocabulary

__all__ = [
    "PATTERNS",
    "IncrementalDecoder",
    "Tokenizer",
    "TokenizerConfig",
    "Vocabulary",
    "load_vocabulary",
    "save_vocabulary",
]

_MODULES = {
    "IncrementalDecoder": "decode",
    "PATTERNS": "patterns",
    "Tokenizer": "tokenizer",
    "TokenizerConfig": "config",
    "Vocabulary": "vocabulary",
    "load_vocabulary": "vocabulary",
    "save_vocabulary": "vocabulary",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
