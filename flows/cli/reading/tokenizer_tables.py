"""Tables of `owt tokenizer compare`."""

from collections.abc import Mapping

import rich
from rich.markup import escape

from artifacts.record import JsonObject
from flows.cli.tables import plain_table, print_table
from tasks.watching.progress import format_bytes

SHOWN_TOKENS = 5
"""Longest tokens that are printed of each tokenizer; the JSON has all."""


def print_comparison(found: JsonObject) -> None:
    """Print the comparison of `tasks/experiments/tokenizer_measures`, one table a question."""
    _print_compression(found["documents"], found["compression"])
    _print_throughput(found["throughput"])
    _print_vocabularies(found["vocabularies"])
    for overlap in found["overlaps"]:
        rich.print(
            f"{escape(overlap['first'])} and {escape(overlap['second'])} share "
            f"{overlap['num_shared']:,} tokens; {overlap['num_only_first']:,} are only in the "
            f"first, {overlap['num_only_second']:,} only in the second (Jaccard "
            f"{overlap['jaccard']:.3f}). Their first {overlap['num_common_merges']:,} merges are "
            f"the same.\n"
        )
    for name, phases in found["training_phases"].items():
        _print_phases(name, phases)


def _print_compression(documents: JsonObject, compression: JsonObject) -> None:
    title = "Bytes a token, ± standard error"
    rich.print("Documents are sampled by their hashes; the error is over documents.\n")
    table = plain_table(title, ("tokenizer",), list(documents))
    for name, row in compression.items():
        cells = [
            f"{cell['bytes_per_token']:.3f}"
            + (f" ± {cell['standard_error']:.3f}" if cell["standard_error"] is not None else "")
            for cell in row.values()
        ]
        table.add_row(escape(name), *cells)
    print_table(table)
    for name, sample in documents.items():
        sizes = [document["size_bytes"] for document in sample]
        rich.print(
            f"{escape(name)}: {len(sizes)} documents of {min(sizes):,} to {max(sizes):,} bytes"
        )
    rich.print()


def _print_throughput(found: JsonObject) -> None:
    threads = "1 thread" if found["num_threads"] == 1 else f"{found['num_threads']} threads"
    rich.print(f"Encoding on {threads} of {escape(found['processor'])}:\n")
    columns = ("bytes", "a second", "825 GB", "825 GiB")
    table = plain_table("", ("tokenizer", "text"), columns)
    for name, row in found["encoding"].items():
        for text, cell in row.items():
            table.add_row(
                escape(name),
                escape(text),
                format_bytes(cell["size_bytes"]),
                format_bytes(cell["bytes_per_second"]),
                f"{cell['hours_for_825_gb']:.2f} h",
                f"{cell['hours_for_825_gib']:.2f} h",
            )
    print_table(table)


def _print_vocabularies(vocabularies: JsonObject) -> None:
    for name, found in vocabularies.items():
        longest = found["longest_tokens"]
        shown = ", ".join(f"{token['id']} {token['text']!r}" for token in longest[:SHOWN_TOKENS])
        rest = len(longest) - SHOWN_TOKENS
        rich.print(
            f"{escape(name)}: {found['vocab_size']:,} ids; the largest, {found['largest_id']:,}, "
            f"takes {found['id_type']} (up to {found['largest_id_of_type']:,}), "
            f"{found['id_num_bytes']} bytes a token\n"
            f"  longest tokens, {found['longest_num_bytes']} bytes: {escape(shown)}"
            + (f" and {rest} more" if rest > 0 else "")
            + "\n"
        )


def _print_phases(name: str, phases: Mapping[str, float]) -> None:
    table = plain_table(f"Training of {name}", ("phase",), ("seconds", "share"))
    total = sum(phases.values())
    for phase, seconds in phases.items():
        table.add_row(phase, f"{seconds:.2f}", f"{seconds / total:.1%}" if total else "")
    print_table(table)
