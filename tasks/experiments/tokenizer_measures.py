"""Measures of tokenizers as plain data: compression, speed, overlap, types of ids, and phases.

The answers to CS336 A1, problems `train_bpe_tinystories` (which part takes the time),
`train_bpe_expts_owt` and `tokenizer_experiments`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from artifacts.identity import Reference
from artifacts.record import JsonObject
from artifacts.store import Store, record_of
from tasks.execution.environment import processor_name
from tasks.watching.progress import OnProgress
from tokenizer.special_tokens import END_OF_TEXT

if TYPE_CHECKING:
    from tokenizer.encoding.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonConfig:
    """Which documents are encoded."""

    num_documents: int = 10
    """Documents of each corpus. Default: CS336 A1, problem `tokenizer_experiments`."""
    seed: int = 0
    """Determines which."""
    split: str = "valid"
    """Split of each corpus that is sampled and timed; no tokenizer was trained on `valid`."""
    separator: str = END_OF_TEXT
    """The text between two documents."""


def compare(
    tokenizers: Mapping[str, Tokenizer], texts: Mapping[str, str], config: ComparisonConfig
) -> JsonObject:
    """Return compression, overlap, longest tokens and types of ids, all deterministic.

    Args:
        tokenizers: By the names of the rows.
        texts: Local paths or URLs of corpora, by the names of the columns.
        config: Which documents are taken.
    """
    from tokenizer.text.document_sample import document_hash, sample_documents

    samples = {
        name: sample_documents(
            path,
            num_documents=config.num_documents,
            separator=config.separator,
            seed=config.seed,
        )
        for name, path in texts.items()
    }
    documents = {
        name: [
            {
                "hash": document_hash(document, seed=config.seed).hex(),
                "size_bytes": len(document),
                "begins": document[:60].decode("utf-8", "replace"),
            }
            for document in sample
        ]
        for name, sample in samples.items()
    }
    return {
        "documents": documents,
        "compression": {name: _compression(each, samples) for name, each in tokenizers.items()},
        "vocabularies": {name: _vocabulary(each) for name, each in tokenizers.items()},
        "overlaps": [_overlap(tokenizers, *pair) for pair in combinations(tokenizers, 2)],
    }


def _compression(tokenizer: Tokenizer, samples: Mapping[str, Sequence[bytes]]) -> JsonObject:
    from lm.experiment_statistics import cluster_standard_error
    from tokenizer.compare import measure_samples

    return {
        name: {
            "num_bytes": sum(found.num_bytes),
            "num_tokens": sum(found.num_tokens),
            "bytes_per_token": found.bytes_per_token,
            "standard_error": cluster_standard_error(found.num_bytes, found.num_tokens),
            "by_document": [
                size / tokens
                for size, tokens in zip(found.num_bytes, found.num_tokens, strict=True)
            ],
        }
        for name, found in measure_samples(tokenizer, samples).items()
    }


def _vocabulary(tokenizer: Tokenizer) -> JsonObject:
    from tokenizer.compare import longest_tokens, smallest_id_type

    longest = longest_tokens(tokenizer)
    id_type = smallest_id_type(tokenizer.vocab_size)
    return {
        "vocab_size": tokenizer.vocab_size,
        "longest_num_bytes": len(longest[0][1]),
        "longest_tokens": [
            {"id": token_id, "text": token.decode("utf-8", "replace")}
            for token_id, token in longest
        ],
        "id_type": id_type.name,
        "id_num_bytes": id_type.num_bytes,
        "largest_id": id_type.largest_id,
        "largest_id_of_type": id_type.largest_value,
    }


def _overlap(tokenizers: Mapping[str, Tokenizer], first: str, second: str) -> JsonObject:
    from tokenizer.compare import compare_vocabularies

    found = compare_vocabularies(tokenizers[first], tokenizers[second])
    return {
        "first": first,
        "second": second,
        "num_shared": found.num_shared,
        "num_only_first": len(found.only_first),
        "num_only_second": len(found.only_second),
        "jaccard": found.jaccard,
        "num_common_merges": found.num_common_merges,
    }


def measure_throughput(
    tokenizers: Mapping[str, Tokenizer],
    texts: Mapping[str, str],
    *,
    num_threads: int,
    on_progress: OnProgress | None = None,
) -> JsonObject:
    """Return how fast each tokenizer encodes each whole text here, and what 825 GB would take.

    The faster of two encodings counts. The first one of a process loads the kernels, and in the
    second the text's own words are known, as nearly all are in a text of 825 GB.
    """
    from tokenizer.compare import PILE_BINARY_BYTES, PILE_BYTES, compression_matrix

    first, second = (
        compression_matrix(
            tokenizers, list(texts.values()), num_threads=num_threads, on_progress=on_progress
        )
        for _ in range(2)
    )
    faster = {
        name: [
            min(pair, key=lambda found: found.seconds)
            for pair in zip(measures, second[name], strict=True)
        ]
        for name, measures in first.items()
    }
    return {
        "processor": processor_name(),
        "num_threads": num_threads,
        "encoding": {
            name: {
                text: {
                    "size_bytes": found.size_bytes,
                    "num_tokens": found.num_tokens,
                    "seconds": found.seconds,
                    "bytes_per_second": found.bytes_per_second,
                    "hours_for_825_gb": found.seconds_for(PILE_BYTES) / 3600,
                    "hours_for_825_gib": found.seconds_for(PILE_BINARY_BYTES) / 3600,
                }
                for text, found in zip(texts, measures, strict=True)
            }
            for name, measures in faster.items()
        },
    }


def training_phases(store: Store, tokenizer: Reference) -> dict[str, float]:
    """Return the seconds of each phase of a tokenizer's training, from its records.

    `count pretokens` is the other stage's whole time; what is not in the two phases of the merge
    loop is reading the counts and writing the files.
    """
    record = record_of(store, tokenizer)
    inside: Mapping[str, float] = record.statistics["seconds"]
    return {
        "count pretokens": record_of(store, record.inputs["counts"]).seconds,
        "build pair tables": inside["build"],
        "merge": inside["merge"],
        "read counts, write files": max(0.0, record.seconds - sum(inside.values())),
    }
