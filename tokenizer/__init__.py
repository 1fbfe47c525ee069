"""Byte-pair encoding: count pretokens, train merges, encode text to token ids, decode ids."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizer.config import TokenizerConfig
    from tokenizer.count import count_pretokens
    from tokenizer.counts import PretokenCounts
    from tokenizer.decode import IncrementalDecoder
    from tokenizer.documents import corpus_statistics
    from tokenizer.encode import EncodedFile, encode_file
    from tokenizer.patterns import PATTERNS
    from tokenizer.ranges import byte_ranges
    from tokenizer.tokenizer import Tokenizer
    from tokenizer.train import train_bpe, train_merges
    from tokenizer.vocabulary import Vocabulary, load_vocabulary, save_vocabulary

__all__ = [
    "PATTERNS",
    "EncodedFile",
    "IncrementalDecoder",
    "PretokenCounts",
    "Tokenizer",
    "TokenizerConfig",
    "Vocabulary",
    "byte_ranges",
    "corpus_statistics",
    "count_pretokens",
    "encode_file",
    "load_vocabulary",
    "save_vocabulary",
    "train_bpe",
    "train_merges",
]

_MODULES = {
    "PATTERNS": "patterns",
    "EncodedFile": "encode",
    "IncrementalDecoder": "decode",
    "PretokenCounts": "counts",
    "Tokenizer": "tokenizer",
    "TokenizerConfig": "config",
    "Vocabulary": "vocabulary",
    "byte_ranges": "ranges",
    "corpus_statistics": "documents",
    "count_pretokens": "count",
    "encode_file": "encode",
    "load_vocabulary": "vocabulary",
    "save_vocabulary": "vocabulary",
    "train_bpe": "train",
    "train_merges": "train",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
