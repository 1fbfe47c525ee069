"""Sections: what the sweeps found. A sweep that was not run gives the command that runs it."""

from collections.abc import Callable
from dataclasses import replace

from tasks.experiments.sweep_results import SweepResult, Trial
from tasks.report.blocks import Block, Figure, NotRun, Origin, Section, Table, Text
from tasks.report.evidence import Evidence, FoundSweep, origin_of
from tasks.report.figures import sweep_figures as draw
from tasks.report.settings import ReportSettings
from tasks.report.wording import NOTHING, count, difference, loss, plain, rate, seconds
from tasks.tracking.runs import flatten

TRAINED_BY = ("tokenizer", "model", "train_lm")
"""Sections of the settings that a trial's loss depends on."""
_MAX_OPEN_TRIALS = 8
"""A longer list of trials is folded."""

TITLES = {
    "learning-rate": "Learning rate",
    "range-test": "Range test of the learning rate",
    "batch-size": "Batch size",
    "weight-decay": "Weight decay",
    "schedule": "Schedule",
    "optimizer": "Optimizer",
    "ablations": "Ablations",
    "seeds": "Noise floor",
    "grid": "Grid",
}
"""Of each kind of sweep, in the order of the page."""


def sweep_sections(evidence: Evidence) -> list[Section]:
    """Return a section for each kind of sweep that `owt sweep` knows or the store holds."""
    kinds = dict.fromkeys((*evidence.settings.sweeps, *(s.result.kind for s in evidence.sweeps)))
    known = [kind for kind in TITLES if kind in kinds] + [k for k in kinds if k not in TITLES]
    return [sweep_section(evidence, kind) for kind in known]


def sweep_section(evidence: Evidence, kind: str) -> Section:
    """Return the section of one kind of sweep, over all corpora."""
    found = evidence.sweeps_of(kind)
    title = TITLES.get(kind, kind)
    if not found:
        command = f"owt sweep {kind} {evidence.settings.arguments}"
        missing = NotRun(what=f"the sweep {kind}", command=command)
        return Section(key=f"sweep-{kind}", title=title, blocks=(missing,))
    blocks: list[Block] = []
    for number, sweep in enumerate(found):
        blocks += _blocks(evidence, sweep, f"{kind}-{number}", show_corpus=len(found) > 1)
    return Section(
        key=f"sweep-{kind}",
        title=title,
        finding=" ".join(finding(sweep.result) for sweep in found),
        blocks=tuple(blocks),
    )


def arm_section(evidence: Evidence, arm: str) -> Section:
    """Return what the ablations say of one arm, against their baseline."""
    kind = "ablations"
    blocks: list[Block] = []
    findings = []
    for number, sweep in enumerate(evidence.sweeps_of(kind)):
        found = [c for c in sweep.result.comparisons if c.arm == arm]
        trials = [t for t in sweep.result.trials if t.arm == arm]
        if not trials:
            continue
        arms = {arm, *(comparison.against for comparison in found)}
        part = replace(
            sweep.result,
            comparisons=tuple(found),
            trials=tuple(trial for trial in sweep.result.trials if trial.arm in arms),
        )
        findings.append(finding(part))
        blocks += _blocks(
            evidence, replace(sweep, result=part), f"{kind}-{number}", show_corpus=True
        )
    if not blocks:
        command = f"owt sweep {kind} {evidence.settings.arguments}"
        blocks.append(NotRun(what=f"the ablation {arm}", command=command))
    return Section(key=arm, title=arm, finding=" ".join(findings), blocks=tuple(blocks))


def finding(result: SweepResult) -> str:
    """Say in a line what a sweep found."""
    if result.comparisons:
        verdicts = (
            f"{c.arm} {difference(c.difference)} ({c.verdict.partition(':')[0]})"
            for c in result.comparisons
        )
        return f"Against {result.comparisons[0].against}: {', '.join(verdicts)}."
    if result.noise_floor is not None:
        floor = result.noise_floor
        return (
            f"The losses of {floor.num_seeds} seeds of the same run have a standard deviation of "
            f"{floor.standard_deviation:.4f} nats; as many pairs show differences of "
            f"{floor.smallest_difference:.4f} and more."
        )
    return _axis_finding(result)


def _axis_finding(result: SweepResult) -> str:
    groups = draw.by_value(result)
    ends = {v: end for v, trials in groups.items() if (end := draw.mean_and_error(trials))}
    if not ends:
        return "No trial came to an end."
    best = min(ends, key=lambda value: ends[value][0])
    name = draw.AXIS_NAMES.get(result.axis, result.axis)
    line = f"Best {name} of those tried: {rate(best)}, with a loss of {loss(*ends[best])}."
    lost = [v for v, trials in groups.items() if any(t.status == "diverged" for t in trials)]
    if lost:
        times = rate(min(lost) / best)
        line += f" The first that diverged is {rate(min(lost))}, {times} times the best."
    elif best in (min(ends), max(ends)):
        line += " It lies at the edge of what was tried, so the best one may lie outside."
    return line


def _blocks(evidence: Evidence, sweep: FoundSweep, name: str, *, show_corpus: bool) -> list[Block]:
    result = sweep.result
    command = result.command or f"owt sweep {result.kind} --preset {result.preset}"
    origin = origin_of(command, [sweep.record])
    blocks: list[Block] = [Text(f"On {result.corpus}:")] if show_corpus else []
    if result.axis and draw.by_value(result):
        blocks += _axis_figures(result, name, origin)
    elif len({trial.arm for trial in result.trials if trial.curve}) > 1:
        blocks.append(
            Figure(
                name=f"{name}-curves",
                svg=draw.curves(result, f"{name}-curves", "step"),
                alt="Training loss of each arm against steps.",
                caption=f"Training loss of each arm, first seed. {_held(result)}",
                origin=origin,
            )
        )
    if result.comparisons:
        blocks += _comparisons(result, name, origin)
    if result.noise_floor is not None:
        blocks += _noise(result, name, origin)
    blocks.append(_trials(result, origin))
    blocks.append(Text(_base(result, evidence.settings)))
    blocks += [Text(f"{note[:1].upper()}{note[1:].rstrip('.')}.") for note in result.notes]
    return blocks


def _base(result: SweepResult, own: ReportSettings) -> str:
    """Say in what the trials began with other settings than this report's run."""
    if not result.settings:
        return "An earlier version made this sweep and did not keep what its trials started from."
    found, ours = flatten(result.settings), flatten(own.config)
    differing = [
        f"{name} {plain(value)} instead of {plain(ours.get(name))}"
        for name, value in found.items()
        if name.partition(".")[0] in TRAINED_BY and plain(value) != plain(ours.get(name))
    ]
    if not differing:
        return "Apart from what each trial changes, the settings are those of this report's run."
    return f"Unlike this report's run, all trials have {', '.join(differing)}."


def _held(result: SweepResult) -> str:
    return f"Equal for all: {result.held_equal}." if result.held_equal else ""


def _axis_figures(result: SweepResult, name: str, origin: Origin) -> list[Block]:
    axis = draw.AXIS_NAMES.get(result.axis, result.axis)

    def figure(part: str, svg: Callable[[str], str], alt: str, caption: str) -> Figure:
        full = f"{name}-{part}"
        return Figure(name=full, svg=svg(full), alt=alt, caption=caption, origin=origin)

    found: list[Block] = [
        figure(
            "end",
            lambda full: draw.loss_over_axis(result, full),
            f"Final validation loss against {axis}.",
            "Loss on the whole validation set at the end. Bars: one standard error, over seeds "
            f"where there are several, else over documents. {_held(result)}",
        ),
        figure(
            "by-step",
            lambda full: draw.curves(result, full, "step"),
            f"Loss against steps for each {axis}.",
            f"Training loss, one line a value of the {axis}; a cross ends a run that diverged.",
        ),
    ]
    if result.axis != "train_lm.batch_size":
        return found
    return [
        *found,
        figure(
            "by-tokens",
            lambda full: draw.curves(result, full, "tokens"),
            "Loss against tokens for each batch size.",
            "The same runs against tokens: what a token teaches.",
        ),
        figure(
            "by-seconds",
            lambda full: draw.curves(result, full, "seconds"),
            "Loss against seconds for each batch size.",
            "The same runs against seconds: what a second of this machine teaches.",
        ),
        figure(
            "speed",
            lambda full: draw.speed_over_axis(result, full),
            "Tokens a second for each batch size.",
            "Speed by batch size, with validations and start.",
        ),
    ]


def _comparisons(result: SweepResult, name: str, origin: Origin) -> list[Block]:
    rows = tuple(
        (
            found.arm,
            found.against,
            count(found.num_pairs),
            difference(found.difference),
            f"{found.standard_error:.3f}",
            f"{difference(found.interval[0])} to {difference(found.interval[1])}",
            count(found.seeds_needed),
            found.verdict,
        )
        for found in result.comparisons
    )
    corrections = sorted({found.correction for found in result.comparisons})
    return [
        Figure(
            name=f"{name}-differences",
            svg=draw.differences(result.comparisons, f"{name}-differences"),
            alt="Difference in loss of each arm to its baseline, with intervals.",
            caption="Mean paired difference and its interval; grey where it holds 0.",
            origin=origin,
        ),
        Table(
            header=(
                "arm",
                "against",
                "pairs",
                "difference",
                "standard error",
                "interval",
                "seeds needed",
                "verdict",
            ),
            rows=rows,
            caption="Paired by seed and data order; t intervals of 95 %. Correction for several "
            f"comparisons: {', '.join(corrections)}. Seeds needed: pairs that show a difference "
            "of this size with a power of 80 %.",
            origin=origin,
        ),
    ]


def _noise(result: SweepResult, name: str, origin: Origin) -> list[Block]:
    floor = result.noise_floor
    assert floor is not None
    rows = (
        ("seeds", count(floor.num_seeds)),
        ("mean loss", f"{floor.mean:.4f}"),
        ("standard deviation over seeds", f"{floor.standard_deviation:.4f}"),
        ("smallest difference shown with a power of 80 %", f"{floor.smallest_difference:.4f}"),
    )
    table = Table(header=("", ""), rows=rows, origin=origin)
    ended = [trial for trial in result.trials if trial.valid_loss is not None]
    if not ended or len({trial.arm for trial in ended}) > 1:
        return [table]
    figure = Figure(
        name=f"{name}-seeds",
        svg=draw.seed_losses(result.trials, f"{name}-seeds"),
        alt="Final loss of each seed.",
        caption="The same run with other seeds: other initial weights, another order of the data.",
        origin=origin,
    )
    return [figure, table]


def _trials(result: SweepResult, origin: Origin) -> Table:
    rows = tuple(
        (
            trial.label,
            str(trial.seed),
            _status(trial),
            loss(trial.valid_loss, trial.valid_loss_error),
            NOTHING if trial.bits_per_byte is None else f"{trial.bits_per_byte:.3f}",
            count(trial.tokens),
            seconds(trial.seconds),
            count(trial.num_parameters) if trial.num_parameters else NOTHING,
            trial.model or NOTHING,
        )
        for trial in result.trials
    )
    header = ("trial", "seed", "status", "final loss", "bits a byte", "tokens", "time")
    return Table(
        header=(*header, "parameters", "model"),
        rows=rows,
        caption=f"All {len(rows)} trials. {_held(result)}".strip(),
        origin=origin,
        is_folded=len(rows) > _MAX_OPEN_TRIALS,
    )


def _status(trial: Trial) -> str:
    """Return in words how a trial ended, with the facts of a run that was lost."""
    if trial.status == "diverged" and trial.diverged_at_step is not None:
        at = f" at a rate of {rate(trial.diverged_at_rate)}" if trial.diverged_at_rate else ""
        last = f", last finite loss {loss(trial.last_finite_loss)}"
        return f"diverged in step {trial.diverged_at_step}{at}{last}"
    if trial.status == "stuck":
        return "stuck at the unigram entropy"
    return f"failed: {trial.failure}" if trial.status == "failed" else trial.status
