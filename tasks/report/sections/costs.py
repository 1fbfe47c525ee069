"""Sections: what was predicted against what was measured, and the training's speed over time."""

from lm.accounting.parameters import num_parameters
from lm.config import ModelConfig
from tasks.execution.training_account import account_of
from tasks.report.blocks import Block, Figure, NotRun, Section, Table
from tasks.report.evidence import Evidence
from tasks.report.figures.themed_svg import new_panel, series_color, to_svg
from tasks.report.sections.curves import series_of
from tasks.report.wording import NOTHING, count, plain, seconds, share
from tasks.watching.progress import format_bytes


def costs_section(evidence: Evidence) -> Section:
    """Hold predicted parameters, FLOPs, memory and seconds against the measured ones."""
    record = evidence.model
    if record is None:
        command = f"owt run {evidence.settings.arguments}"
        missing = NotRun(what="the training", command=command)
        return Section(key="costs", title="Predicted and measured", blocks=(missing,))
    account = account_of(record)
    environment = record.statistics["environment"]
    model = ModelConfig(**record.config["model"])
    flops = account.flops
    peak = float(environment["peak_flops"]) * int(environment.get("world_size", 1))
    at_peak_s, measured_s = flops / peak, account.seconds
    weights = next(
        (entry.size_bytes for entry in record.files if entry.name == "model.safetensors"), None
    )
    predicted, measured = account.predicted_memory_bytes, account.peak_memory_bytes
    rows = (
        (
            "parameters, as bytes in fp32",
            format_bytes(4 * num_parameters(model)),
            format_bytes(weights) if weights else NOTHING,
            "file of the weights; its header is some kB",
        ),
        (
            "training FLOPs",
            f"{flops:.4e}",
            NOTHING,
            "counted from the shape; no counter runs along",
        ),
        (
            "seconds",
            seconds(at_peak_s),
            seconds(measured_s),
            f"predicted at this machine's measured peak, {peak / 1e9:,.4g} GFLOP/s",
        ),
        (
            "seconds, by an earlier training",
            seconds(account.predicted_seconds),
            seconds(measured_s),
            "predicted before it began, from the nearest training of the store",
        ),
        (
            "memory of a step",
            format_bytes(predicted) if predicted else NOTHING,
            format_bytes(measured) if measured else NOTHING,
            "measured on a CPU, it is the whole process, libraries included",
        ),
    )
    table = Table(
        header=("", "predicted", "measured", "how"),
        rows=rows,
        origin=evidence.origin("plan", ("train_lm",)),
    )
    finding = (
        f"{count(num_parameters(model))} parameters; {flops:.3g} training FLOPs took "
        f"{seconds(measured_s)}, {share(at_peak_s / measured_s)} of this machine's peak."
    )
    return Section(key="costs", title="Predicted and measured", finding=finding, blocks=(table,))


def throughput_section(evidence: Evidence) -> Section:
    """Show the speed over time, and what happened on the way."""
    speeds = series_of(evidence.timings, "perf/tokens_per_second")
    if not speeds.values:
        command = f"owt run {evidence.settings.arguments}"
        missing = NotRun(what="the training's timings", command=command)
        return Section(key="throughput", title="Throughput and events", blocks=(missing,))
    middle = sorted(speeds.values)[len(speeds.values) // 2]
    blocks: list[Block] = [_speed(evidence), _memory(evidence), _events(evidence)]
    return Section(
        key="throughput",
        title="Throughput and events",
        finding=f"{count(middle)} tokens a second in the median interval; "
        f"{count(min(speeds.values))} in the slowest, {count(max(speeds.values))} in the fastest.",
        blocks=tuple(blocks),
    )


def _speed(evidence: Evidence) -> Figure:
    drawing, axes = new_panel("minutes of training", "tokens a second")
    speeds = series_of(evidence.timings, "perf/tokens_per_second")
    minutes = [value / 60 for value in series_of(evidence.timings, "perf/elapsed_s").values]
    axes.plot(minutes, speeds.values, color=series_color(0), linewidth=1.1)
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.1 * max(speeds.values))
    return Figure(
        name="throughput",
        svg=to_svg(drawing, "throughput"),
        alt="Tokens a second over the time of training.",
        caption="Speed of the steps, validation and checkpoints left out. A dip may be other work "
        "of the machine.",
        origin=evidence.origin("run", ("train_lm",)),
    )


def _memory(evidence: Evidence) -> Figure:
    drawing, axes = new_panel("minutes of training", "share of the peak FLOP/s, %")
    shares = [100 * value for value in series_of(evidence.timings, "perf/mfu").values]
    minutes = [value / 60 for value in series_of(evidence.timings, "perf/elapsed_s").values]
    axes.plot(minutes, shares, color=series_color(2), linewidth=1.1)
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.1 * max(shares))
    return Figure(
        name="model-flops-utilization",
        svg=to_svg(drawing, "model-flops-utilization"),
        alt="Model FLOPs utilization over the time of training.",
        caption="Model FLOPs over the peak that a large product of the same number format "
        "reached on this machine (MFU).",
        origin=evidence.origin("run", ("train_lm",)),
    )


def _events(evidence: Evidence) -> Table:
    record = evidence.model
    assert record is not None
    facts = record.statistics
    spikes = [line for line in evidence.metrics if "spike/num_skipped" in line]
    returns = [line["step"] for line in spikes if line["spike/is_rolled_back"]]
    resumed_s = float(facts["seconds"]) - record.seconds
    # The clock of a training runs over all its attempts, the record's over the last one.
    resumed = f"yes; {seconds(resumed_s)} before the last attempt" if resumed_s > 1 else "no"
    waits = series_of(evidence.timings, "perf/data_wait_share").values
    rows = (
        ("steps skipped as spikes", _steps([line["step"] for line in spikes])),
        ("returns to an earlier checkpoint", _steps(returns)),
        ("diverged", plain(bool(facts["diverged"]))),
        ("resumed after an interruption", resumed),
        ("time waited for data", share(sum(waits) / len(waits)) if waits else NOTHING),
        *((name, plain(value)) for name, value in _choices(facts["environment"])),
    )
    return Table(
        header=("event or choice", ""),
        rows=rows,
        origin=evidence.origin("run", ("train_lm",)),
    )


def _steps(steps: list[int]) -> str:
    if not steps:
        return "none"
    shown = ", ".join(map(str, steps[:8])) + (", …" if len(steps) > 8 else "")
    return f"{len(steps)}: step {shown}"


def _choices(environment: dict[str, object]) -> list[tuple[str, object]]:
    """Return what the run chose on its machine."""
    wanted = ("device", "compile", "attention", "micro_batch_size", "num_threads", "world_size")
    return [(name.replace("_", " "), environment[name]) for name in wanted if name in environment]
