"""From the trials of a sweep to its result: comparisons, noise floor, and what a caption says."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, median

from artifacts.record import JsonObject
from flows.sweeps.along import RATE
from flows.sweeps.design import Design
from lm.experiment_statistics import compare_pairs, measure_spread, stopping_rule
from tasks.experiments.sweep_results import Comparison, NoiseFloor, SweepResult, Trial

SMOOTHED = 9
"""Losses of which a range test takes the median."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepFacts:
    """What a result says of the sweep besides its trials."""

    preset: str
    corpus: str
    command: str
    """The command that repeats it."""
    settings: JsonObject = field(default_factory=dict)
    """What its trials start from, by section."""


def sweep_result(
    design: Design,
    trials: Sequence[Trial],
    facts: SweepFacts,
    *,
    num_left_out: int = 0,
) -> SweepResult:
    """Return what the trials say together."""
    return SweepResult(
        kind=design.kind,
        preset=facts.preset,
        corpus=facts.corpus,
        axis=design.axis,
        held_equal=design.held_equal,
        command=facts.command,
        settings=facts.settings,
        trials=tuple(trials),
        comparisons=tuple(comparisons(design, trials)),
        noise_floor=noise_floor(design, trials),
        notes=tuple(_notes(design, trials, num_left_out)),
    )


def comparisons(design: Design, trials: Sequence[Trial]) -> list[Comparison]:
    """Compare each arm with the baseline at the planned seeds; without two pairs, not at all."""
    if not design.against:
        return []
    against = _losses(design, trials, design.against)
    found = []
    for arm in design.arms:
        losses = _losses(design, trials, arm.name)
        if arm.name == design.against or len(losses.keys() & against.keys()) < 2:
            continue
        compared = compare_pairs(
            losses,
            against,
            planned_seeds=design.seeds,
            num_comparisons=design.num_comparisons,
        )
        found.append(Comparison(arm=arm.name, against=design.against, **asdict(compared)))
    return found


def noise_floor(design: Design, trials: Sequence[Trial]) -> NoiseFloor | None:
    """Return the spread over seeds of the baseline, or of the only arm."""
    arm = design.against or (design.arms[0].name if len(design.arms) == 1 else "")
    losses = list(_losses(design, trials, arm).values())
    return NoiseFloor(**asdict(measure_spread(losses))) if len(losses) > 1 else None


def relation_of_rates(trials: Sequence[Trial]) -> str:
    """Relate the best rate to the first divergent one.

    Large steps train best just below the rate at which training becomes unstable: the edge of
    stability (Cohen et al. 2021).
    """
    rated = [(float(str(trial.overrides[RATE])), trial) for trial in trials]
    finished: dict[float, list[float]] = {}
    for rate, trial in rated:
        if trial.status == "finished" and trial.valid_loss is not None:
            finished.setdefault(rate, []).append(trial.valid_loss)
    if not finished:
        return "no rate gave a finished training"
    best = min(finished, key=lambda rate: fmean(finished[rate]))
    lost = [rate for rate, trial in rated if trial.status == "diverged" and rate > best]
    if not lost:
        return f"the best rate is {best:.3g}; no higher one diverged, so the edge is not reached"
    return (
        f"the best rate is {best:.3g}; the first divergent one is {min(lost):.3g}, "
        f"{min(lost) / best:.3g} times as high"
    )


def range_of_rates(trial: Trial) -> str:
    """Say where a training whose rate grows learned fastest, was best, and was lost.

    Losses are running medians. Learning is fastest where the loss falls most for a factor of the
    rate; the usual advice is a rate below the lowest loss (Smith 2017, section 3.3).
    """
    rates, losses = _smoothed_by_rate(trial)
    if len(losses) <= SMOOTHED:
        return "the range test has too few steps to say anything"
    falls = [before - after for before, after in zip(losses, losses[SMOOTHED:], strict=False)]
    lowest = losses.index(min(losses))
    limit = losses[lowest] + (losses[0] - losses[lowest]) / 2
    lost = [rate for rate, loss in list(zip(rates, losses, strict=True))[lowest:] if loss > limit]
    end = f"and half of it was lost again at {lost[0]:.2g}" if lost else "and it was never lost"
    return (
        f"the loss fell fastest at a rate of {rates[falls.index(max(falls))]:.2g}, "
        f"was lowest at {rates[lowest]:.2g}, {end}"
    )


def _smoothed_by_rate(trial: Trial) -> tuple[list[float], list[float]]:
    """Return the rate of each step that has a loss, and the running medians of the losses."""
    known = [
        (point.learning_rate, point.train_loss)
        for point in trial.curve
        if point.learning_rate is not None and point.train_loss is not None
    ]
    losses = [loss for _, loss in known]
    windows = [losses[max(0, end - SMOOTHED) : end] for end in range(1, len(losses) + 1)]
    return [rate for rate, _ in known], [median(window) for window in windows]


def _losses(design: Design, trials: Sequence[Trial], arm: str) -> dict[int, float]:
    """Return an arm's losses by seed, without the trials of the tuning."""
    return {
        trial.seed: trial.valid_loss
        for trial in trials
        if trial.arm == arm and trial.seed in design.seeds
        if trial.status in ("finished", "stuck") and trial.valid_loss is not None
    }


def _notes(design: Design, trials: Sequence[Trial], num_left_out: int) -> list[str]:
    notes = list(design.notes)
    if design.against:
        notes.append(stopping_rule(len(design.seeds)))
    if design.rate_factors:
        factors = ", ".join(f"{factor:.3g}" for factor in design.rate_factors)
        notes.append(
            f"each side was tuned alone at {len(design.rate_factors)} rates ({factors} times the "
            f"preset's) with seed {design.tuning_seed}, and compared at the best with other seeds"
        )
    if design.kind == "range-test":
        notes += [range_of_rates(trial) for trial in trials if trial.curve]
    elif design.axis == RATE:
        notes.append(relation_of_rates(trials))
    if num_left_out:
        notes.append(f"{num_left_out} trials were left out: the budget of minutes was spent")
    return notes
