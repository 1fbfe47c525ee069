"""`owt account`: parameters, FLOPs, memory and training time of a model, before it exists."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import rich
import typer
from rich.markup import escape

from flows.cli.options import AsJson, Settings
from flows.cli.tables import plain_table, print_table
from flows.config import PipelineConfig, nearest, read_overlay, resolve_config
from flows.presets import PRESETS, find_preset, gpt2
from lm.accounting.course import EDITIONS, GPT2_SHAPES, find_edition, gpt2_config
from lm.accounting.devices import DEVICES, find_device
from lm.config import Precision

if TYPE_CHECKING:
    from lm.accounting.account import Account, ForwardFlops, Hardware

LONG_CONTEXT = 16_384
"""Context length at which the hand-out asks for the FLOPs again."""

TOO_LARGE = " (not one fits)"

LABELS = {
    "token_embeddings": "token embeddings",
    "feed_forward": "feed-forward",
    "lm_head": "output matrix",
    "attention_projections": "QKVO projections",
    "attention_scores": "attention scores",
    "converted_weights": "converted weights",
    "optimizer": "optimizer state",
}
"""Names of parts that are not words as they are."""


def account(
    model: Annotated[
        str, typer.Argument(help="gpt2-small, -medium, -large, -xl, a preset or a TOML file.")
    ],
    edition: Annotated[
        int, typer.Option(help=f"Hand-out of the course: {', '.join(map(str, EDITIONS))}.")
    ] = 2025,
    context_length: Annotated[int, typer.Option(help="0: the model's own.")] = 0,
    device: Annotated[
        str, typer.Option(help=f"{', '.join(DEVICES)}; default: the hand-out's.")
    ] = "",
    precision: Annotated[str, typer.Option(help="fp32, tf32, bf16; default: the training's.")] = "",
    batch: Annotated[int, typer.Option(help="Sequences a step; 0: the training's.")] = 0,
    steps: Annotated[int, typer.Option(help="0: the training's.")] = 0,
    mfu: Annotated[float, typer.Option(help="Share of the peak that is reached.")] = 0.5,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Print parameters, FLOPs, memory and training time of a model, counted from its shape."""
    from lm.accounting.account import account_for, count_forward

    shorthands = {
        "model.context_length": context_length,
        "train_lm.batch_size": batch,
        "train_lm.max_steps": steps,
        "train_lm.precision": precision,
    }
    given = [f"{name}={value}" for name, value in shorthands.items() if value]
    given += ["train_lm.warmup_steps=0"] if steps else []  # few steps need no shorter warm-up
    config = _config_of(model, edition, [*(settings or ()), *given])
    hardware = _hardware(device, config.train_lm.precision, edition, mfu)
    found = account_for(model, config.model, config.train_lm, hardware, edition=edition)
    long = count_forward(model, dataclasses.replace(config.model, context_length=LONG_CONTEXT))
    family = GPT2_SHAPES if model in GPT2_SHAPES else ()
    rows = [count_forward(name, gpt2_config(name, edition=edition)) for name in family]
    for row in (found.forward, long):
        rows += [row] if row not in rows else []
    if as_json:
        document = {"edition": edition, **dataclasses.asdict(found)}
        document["forward_by_model"] = [dataclasses.asdict(row) for row in rows]
        print(json.dumps(document, indent=1))
    else:
        _print_account(found, rows, long)


def _config_of(name: str, edition: int, settings: Sequence[str]) -> PipelineConfig:
    """Return the configuration of a model's name, with settings over it."""
    find_edition(edition)
    if name in GPT2_SHAPES:
        return resolve_config(gpt2(name, edition=edition), None, settings)
    if name.endswith(".toml"):
        return resolve_config(find_preset("smoke"), read_overlay(Path(name)), settings)
    if name not in PRESETS:
        known = [*GPT2_SHAPES, *PRESETS]
        raise ValueError(f"unknown model {name!r}; {nearest(name, known)} (or a file .toml)")
    return resolve_config(find_preset(name), None, settings)


def _hardware(name: str, precision: Precision, edition: int, mfu: float) -> Hardware:
    from lm.accounting.account import Hardware

    asked = find_edition(edition)
    device = find_device(name or asked.device)
    peak_flops, source = device.peak_flops[precision], device.source
    if (name or asked.device, precision) == (asked.device, asked.precision):
        peak_flops, source = asked.peak_flops, f"the {edition} hand-out's figure; {source}"
    return Hardware(
        name=device.title,
        memory_bytes=device.memory_bytes,
        precision=precision,
        peak_flops=peak_flops,
        mfu=mfu,
        source=source,
    )


def _print_account(found: Account, rows: Sequence[ForwardFlops], long: ForwardFlops) -> None:
    rich.print(
        f"{escape(found.name)}: {found.num_parameters:,} parameters, "
        f"{found.fp32_bytes:,} bytes in fp32\n"
    )
    _print_parts("Parameters", "number", found.parameters)
    length = found.forward.context_length
    _print_parts(f"One forward pass of {length:,} tokens", "FLOPs", found.forward.by_component)
    rich.print(f"Training: {found.training_flops_per_token:,} FLOPs a token, three times forward\n")
    _print_forward(rows)
    if long != found.forward:
        rich.print(
            f"{escape(found.name)}: {long.total / found.forward.total:.2f} times the FLOPs at "
            f"{long.context_length:,} tokens\n"
        )
    _print_memory(found)
    _print_time(found)


def _print_parts(title: str, unit: str, parts: Mapping[str, int]) -> None:
    table = plain_table(title, ("part",), (unit, "share"))
    total = sum(parts.values())
    for name, number in parts.items():
        if number == 0:
            continue
        table.add_row(LABELS.get(name, name), f"{number:,}", f"{number / total:.2%}")
    table.add_row("total", f"{total:,}", "")
    print_table(table)


def _print_forward(rows: Sequence[ForwardFlops]) -> None:
    columns = ("M param.", "tokens", "FLOPs", "QKVO", "scores", "FFN", "head")
    table = plain_table("Forward passes by size and context, and shares in %", ("model",), columns)
    for row in rows:
        shares = [f"{100 * share:.1f}" for share in row.shares.values()]
        numbers = f"{row.num_parameters / 1e6:,.1f}", f"{row.context_length:,}", f"{row.total:,}"
        table.add_row(escape(row.name), *numbers, *shares)
    print_table(table)


def _print_memory(found: Account) -> None:
    memory, hardware = found.adamw_memory, found.hardware
    fits = sum(found.fast_path_memory.values()) <= hardware.memory_bytes
    rich.print(
        f"Bytes of a step with AdamW and B sequences, counted by {memory.counted}:\n"
        f"{memory.bytes_per_sequence:,} B + {memory.fixed_bytes:,}\n"
        f"Largest batch in {hardware.memory_bytes / 1e9:.0f} GB ({hardware.name}): "
        f"{found.largest_batch:,}{'' if found.largest_batch else TOO_LARGE}\n"
    )
    _print_parts("Whatever the batch", "bytes", memory.fixed)
    _print_parts("Each sequence: kept outputs", "bytes", memory.activations)
    rich.print(
        f"This project's fast path ({hardware.precision}, {found.optimizer}) divides the batch of "
        f"{found.training.batch_size:,} into micro-batches of {found.fast_path_micro_batch:,}"
        f"{'' if fits else TOO_LARGE}:\n"
    )
    _print_parts("One micro-batch", "bytes", found.fast_path_memory)


def _print_time(found: Account) -> None:
    training, hardware = found.training, found.hardware
    rich.print(
        f"One step of {found.optimizer}: {found.optimizer_flops:,} FLOPs, whatever the batch\n"
        f"{training.max_steps:,} steps of {training.batch_size:,} sequences: "
        f"{training.num_tokens:,} tokens, {training.flops:.4g} FLOPs\n"
        f"At {hardware.mfu:.0%} of {hardware.peak_flops / 1e12:,.4g} TFLOP/s "
        f"({hardware.name}, {hardware.precision}):\n"
        f"{training.hours:,.1f} hours, {training.days:,.1f} days\n"
        f"Peak: {hardware.source}"
    )
