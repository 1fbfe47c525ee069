"""Section: the training's curves against steps, tokens, FLOPs and seconds."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from artifacts.record import JsonObject
from lm.accounting.flops import training_flops_per_token
from lm.config import ModelConfig
from tasks.report.blocks import Block, Figure, NotRun, Section
from tasks.report.evidence import Evidence
from tasks.report.figures.themed_svg import (
    MUTED,
    TALL,
    EndLabel,
    add_scale,
    label_ends,
    new_panel,
    series_color,
    to_svg,
)
from tasks.report.wording import count, loss, seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One curve."""

    steps: list[int]
    values: list[float]


def series_of(lines: list[JsonObject], name: str) -> Series:
    """Return the finite values of one metric, in the order of the steps."""
    rows = [(int(line["step"]), float(line[name])) for line in lines if line.get(name) is not None]
    return Series(steps=[step for step, _ in rows], values=[value for _, value in rows])


def elapsed_at(timings: list[JsonObject], steps: list[int]) -> list[float]:
    """Return the seconds of training at each step, between the steps that were timed."""
    timed = series_of(timings, "perf/elapsed_s")
    if not timed.steps:
        return []
    found = np.interp(steps, [0, *timed.steps], [0.0, *timed.values])
    return [float(value) for value in found]


def curves_section(evidence: Evidence) -> Section:
    """Show how the loss fell, and what the optimizer saw."""
    if evidence.model is None:
        command = f"owt run {evidence.settings.arguments}"
        missing = NotRun(what="the training", command=command)
        return Section(key="curves", title="Training", blocks=(missing,))
    valid = series_of(evidence.metrics, "valid/loss")
    facts = evidence.model.statistics
    blocks: list[Block] = [_loss_by_step(evidence)]
    if evidence.timings:
        blocks.append(_loss_by_time(evidence))
    blocks += [_rates(evidence), _gradients(evidence)]
    ending = "training diverged" if facts["diverged"] else "training ended"
    finding = (
        f"After {count(facts['step'])} steps and {count(facts['tokens_seen'])} tokens, in "
        f"{seconds(float(facts['seconds']))}, {ending} at a sampled validation loss of "
        f"{loss(valid.values[-1] if valid.values else None)} nats a token."
    )
    return Section(key="curves", title="Training", finding=finding, blocks=tuple(blocks))


def _model_config(evidence: Evidence) -> ModelConfig:
    assert evidence.model is not None
    return ModelConfig(**evidence.model.config["model"])


def _draw_losses(axes: Axes, evidence: Evidence, places: dict[str, list[float]]) -> None:
    """Draw both losses, and the entropies that they are compared with."""
    train = series_of(evidence.metrics, "train/loss")
    valid = series_of(evidence.metrics, "valid/loss")
    labels = []
    if train.values:
        axes.plot(places["train"], train.values, color=series_color(0), linewidth=1.1)
        labels.append(EndLabel(train.values[-1], "training", series_color(0)))
    if valid.values:
        axes.plot(places["valid"], valid.values, "o-", color=series_color(1), markersize=3.5)
        labels.append(EndLabel(valid.values[-1], "validation", series_color(1)))
    for name in ("unigram", "bigram"):
        entropy = evidence.evaluation.get(f"{name}_entropy")
        if entropy is not None:
            axes.axhline(entropy, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
            labels.append(EndLabel(entropy, f"{name} entropy", MUTED))
    axes.set_xlim(left=0)
    label_ends(axes, labels)


def _loss_by_step(evidence: Evidence) -> Figure:
    drawing, axes = new_panel("steps", "loss, nats a token", size=TALL)
    train = series_of(evidence.metrics, "train/loss")
    valid = series_of(evidence.metrics, "valid/loss")
    places = {"train": list(map(float, train.steps)), "valid": list(map(float, valid.steps))}
    _draw_losses(axes, evidence, places)
    config = evidence.settings.config
    tokens = config["train_lm"]["batch_size"] * config["model"]["context_length"]
    flops = tokens * training_flops_per_token(_model_config(evidence))
    # The layout engine does not know of further scales.
    drawing.set_layout_engine(None)
    drawing.subplots_adjust(left=0.12, right=0.74, top=0.98, bottom=0.45)
    add_scale(axes, -0.33, tokens, "tokens")
    add_scale(axes, -0.66, flops, "training FLOPs")
    return Figure(
        name="loss-by-step",
        svg=to_svg(drawing, "loss-by-step"),
        alt="Training and validation loss against steps, tokens and training FLOPs.",
        caption="Loss against steps, tokens and training FLOPs: three scales of one axis, as "
        "every step takes the same. Validation here is on a fixed sample.",
        origin=evidence.origin("run", ("train_lm", "evaluate")),
    )


def _loss_by_time(evidence: Evidence) -> Figure:
    drawing, axes = new_panel("seconds of training", "loss, nats a token", size=TALL)
    train = series_of(evidence.metrics, "train/loss")
    valid = series_of(evidence.metrics, "valid/loss")
    places = {
        "train": elapsed_at(evidence.timings, train.steps),
        "valid": elapsed_at(evidence.timings, valid.steps),
    }
    _draw_losses(axes, evidence, places)
    return Figure(
        name="loss-by-time",
        svg=to_svg(drawing, "loss-by-time"),
        alt="Training and validation loss against seconds of training.",
        caption="The same against the seconds of this machine, validation included.",
        origin=evidence.origin("run", ("train_lm", "evaluate")),
    )


def _rates(evidence: Evidence) -> Figure:
    drawing, axes = new_panel("steps", "learning rate")
    rates = series_of(evidence.metrics, "train/learning_rate")
    axes.plot(rates.steps, rates.values, color=series_color(0))
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return Figure(
        name="learning-rate-schedule",
        svg=to_svg(drawing, "learning-rate-schedule"),
        alt="The learning rate of each step.",
        caption="Learning rate of each logged step.",
        origin=evidence.origin("run", ("train_lm",)),
    )


def _gradients(evidence: Evidence) -> Figure:
    drawing, axes = new_panel("steps", "gradient norm")
    norms = series_of(evidence.metrics, "train/gradient_norm")
    axes.plot(norms.steps, norms.values, color=series_color(0), linewidth=1.1)
    limit = float(evidence.settings.config["train_lm"]["max_l2_norm"])
    labels = []
    if limit and norms.values and limit < 3 * max(norms.values):
        axes.axhline(limit, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        labels = [EndLabel(limit, "clipped above", MUTED)]
    spikes = series_of(evidence.metrics, "spike/gradient_norm")
    axes.plot(spikes.steps, spikes.values, "x", color=series_color(1))
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    label_ends(axes, labels)
    skipped = f" {len(spikes.steps)} spikes are crosses: those steps were skipped."
    return Figure(
        name="gradient-norm",
        svg=to_svg(drawing, "gradient-norm"),
        alt="The norm of the gradient at each step, before clipping.",
        caption="Norm of the whole gradient before clipping." + (skipped if spikes.steps else ""),
        origin=evidence.origin("run", ("train_lm",)),
    )
