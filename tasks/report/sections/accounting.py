"""Sections: the account of this run's model, and the course's account of GPT-2."""

from lm.accounting.account import Account, ForwardFlops, Hardware, account_for, count_forward
from lm.accounting.course import (
    EDITIONS,
    GPT2_SHAPES,
    TRAINING_BATCH_SIZE,
    TRAINING_STEPS,
    gpt2_config,
)
from lm.accounting.devices import DEVICES
from lm.config import ModelConfig, TrainConfig
from tasks.report.blocks import Origin, Section, Table, Text
from tasks.report.evidence import Evidence
from tasks.report.wording import count, share

LONG_CONTEXT = 16_384
"""Context at which the course asks for GPT-2's FLOPs again."""
MFU = 0.5
"""Share of the peak that the course assumes."""


def model_account_section(evidence: Evidence) -> Section:
    """Count parameters and FLOPs of this run's model, part by part."""
    values = dict(evidence.settings.config["model"])
    config = ModelConfig(**values)
    found = _account(config, name="this model", edition=max(EDITIONS))
    origin = Origin(command=f"owt account {evidence.settings.preset}")
    total = found.num_parameters
    parts = tuple(
        (_words(name), count(number), share(number / total))
        for name, number in found.parameters.items()
    )
    flops = tuple(
        (_words(name), count(number), share(found.forward.shares[name]))
        for name, number in found.forward.by_component.items()
    )
    finding = (
        f"{count(total)} parameters; {count(found.forward.total)} FLOPs for a forward pass over "
        f"{count(config.context_length)} tokens, {count(found.training_flops_per_token)} for "
        "training on one token."
    )
    tables = (
        Table(
            header=("parameters", "number", "share"),
            rows=(*parts, ("all", count(total), "")),
            origin=origin,
        ),
        Table(
            header=("forward pass", "FLOPs", "share"),
            rows=(*flops, ("all", count(found.forward.total), "")),
            caption="A product of m x k by k x n is 2 m k n FLOPs; element-wise work is not "
            "counted.",
            origin=origin,
        ),
    )
    return Section(key="account", title="Accounting", finding=finding, blocks=tables)


def gpt2_section(edition: int) -> Section:
    """Answer the course's accounting problem for GPT-2, with the architecture of one edition."""
    largest = list(GPT2_SHAPES)[-1]
    found = _account(gpt2_config(largest, edition=edition), name=largest, edition=edition)
    forwards = [count_forward(name, gpt2_config(name, edition=edition)) for name in GPT2_SHAPES]
    long = gpt2_config(largest, edition=edition, context_length=LONG_CONTEXT)
    forwards.append(count_forward(largest, long))
    growth = forwards[-1].total / found.forward.total
    top = max(found.forward.shares, key=lambda name: found.forward.shares[name])
    origin = Origin(command=f"owt account {largest} --edition {edition}")
    finding = (
        f"{largest} of {edition}: {count(found.num_parameters)} parameters, "
        f"{count(found.fp32_bytes)} bytes in fp32, {count(found.forward.total)} FLOPs a forward "
        f"pass; {_words(top)} takes the largest share, {share(found.forward.shares[top])}."
    )
    return Section(
        key=f"gpt2-{edition}",
        title=f"GPT-2, edition of {edition}",
        finding=finding,
        blocks=(
            Table(
                header=("model", "tokens", "FLOPs", "projections", "scores", "FFN", "head"),
                rows=tuple(map(_forward_row, forwards)),
                caption="FLOPs of one forward pass and their shares. At a long context the scores "
                "take over, as they grow with its square: "
                f"{growth:.2f} times the FLOPs at {count(LONG_CONTEXT)} tokens.",
                origin=origin,
            ),
        ),
    )


def adamw_section(edition: int) -> Section:
    """Answer the course's problem on AdamW: memory, batch, FLOPs of a step, and days."""
    largest = list(GPT2_SHAPES)[-1]
    found = _account(gpt2_config(largest, edition=edition), name=largest, edition=edition)
    memory, hardware, training = found.adamw_memory, found.hardware, found.training
    line = f"{count(memory.bytes_per_sequence)} B + {count(memory.fixed_bytes)}"
    origin = Origin(command=f"owt account {largest} --edition {edition}")
    rows = (
        ("bytes of a step with B sequences", line),
        (f"largest B in {hardware.memory_bytes / 1e9:.0f} GB", count(found.largest_batch)),
        ("FLOPs of AdamW's step", count(found.optimizer_flops)),
        ("training FLOPs", f"{training.flops:.4e}"),
        ("hours", f"{training.hours:,.1f}"),
        ("days", f"{training.days:,.1f}"),
    )
    kept = tuple((name, count(size)) for name, size in memory.activations.items())
    return Section(
        key=f"adamw-{edition}",
        title=f"AdamW, edition of {edition}",
        finding=f"{edition}: {line} bytes, so a batch of {count(found.largest_batch)} fits; "
        f"{training.days:,.1f} days on one {hardware.name}.",
        blocks=(
            Text(
                f"Counted by {memory.counted}. Time: {count(training.max_steps)} steps of "
                f"{count(training.batch_size)} sequences at {share(hardware.mfu)} of "
                f"{hardware.peak_flops / 1e12:g} TFLOP/s ({hardware.source})."
            ),
            Table(header=("", ""), rows=rows, origin=origin),
            Table(header=("kept for backward, one sequence", "bytes"), rows=kept, origin=origin),
        ),
    )


def _account(config: ModelConfig, *, name: str, edition: int) -> Account:
    """Account for a model on the device and with the training of an edition."""
    asked = EDITIONS[edition]
    device = DEVICES[asked.device]
    hardware = Hardware(
        name=device.title,
        memory_bytes=device.memory_bytes,
        precision=asked.precision,
        peak_flops=asked.peak_flops,
        mfu=MFU,
        source=device.source,
    )
    train = TrainConfig(
        batch_size=TRAINING_BATCH_SIZE, max_steps=TRAINING_STEPS, precision=asked.precision
    )
    return account_for(name, config, train, hardware, edition=edition)


def _forward_row(found: ForwardFlops) -> tuple[str, ...]:
    shares = (f"{100 * part:.2f} %" for part in found.shares.values())
    return found.name, count(found.context_length), count(found.total), *shares


def _words(name: str) -> str:
    return {"lm_head": "output matrix"}.get(name, name.replace("_", " "))
