"""From a design to its trials: first each side is tuned, then all sides are compared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from artifacts.record import JsonObject
from flows.config import PipelineConfig, RawConfig, resolve_config
from flows.stages import MODEL
from flows.sweeps.design import Arm, Design, Overrides, scaled_rates
from tasks.experiments.sweep_results import Trial
from tasks.experiments.trial_files import TrialName


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """One trial: its name, and the complete configuration."""

    name: TrialName
    config: PipelineConfig
    factor: float = 1.0
    """Factor of the peak rates."""


Perform = Callable[[Sequence[PlannedTrial]], list[Trial]]
"""Performs trials, or looks them up; those that are left out are not in the list."""


def perform_design(design: Design, base: PipelineConfig, perform: Perform) -> list[Trial]:
    """Return the trials of a sweep: those of the tuning, then those at the chosen rates."""
    tuning = perform(tuning_round(design, base)) if design.rate_factors else []
    best = best_factors(design, tuning)
    final = perform(final_round(design, base, best))
    known = {(trial.arm, trial.seed, str(trial.overrides)) for trial in final}
    return [t for t in tuning if (t.arm, t.seed, str(t.overrides)) not in known] + final


def tuning_round(design: Design, base: PipelineConfig) -> list[PlannedTrial]:
    """Return each arm at each rate, with the seed of the tuning."""
    return [
        plan_trial(base, arm, design.tuning_seed, factor, design)
        for arm in design.arms
        for factor in design.rate_factors
    ]


def final_round(
    design: Design, base: PipelineConfig, best: Mapping[str, float]
) -> list[PlannedTrial]:
    """Return each arm at its own rate with every seed, seed by seed.

    All arms of one seed come before the next seed: a sweep that is stopped has whole pairs.
    """
    return [
        plan_trial(base, arm, seed, best[arm.name], design)
        for seed in design.seeds
        for arm in design.arms
        if arm.name in best
    ]


def best_factors(design: Design, tuning: Sequence[Trial]) -> dict[str, float]:
    """Return the factor of the lowest loss of each arm; an arm whose trials all failed has none."""
    if not design.rate_factors:
        return {arm.name: 1.0 for arm in design.arms}
    best = {}
    for arm in design.arms:
        trials = [trial for trial in tuning if trial.arm == arm.name]
        losses = [
            (trial.valid_loss, factor)
            for trial, factor in zip(trials, design.rate_factors, strict=False)
            if trial.status == "finished" and trial.valid_loss is not None
        ]
        if losses and len(trials) == len(design.rate_factors):
            best[arm.name] = min(losses)[1]
    return best


def plan_trial(
    base: PipelineConfig, arm: Arm, seed: int, factor: float, design: Design
) -> PlannedTrial:
    """Lay an arm, a factor of its rates and a seed over the base."""
    overrides: dict[str, object] = dict(arm.overrides)
    label = arm.name
    if design.rate_factors:
        # Rates of the arm's own configuration: with Muon there are two.
        own = overridden(base, overrides).train_lm
        overrides |= scaled_rates(MODEL, own, factor)
        label += f", rate {own.max_learning_rate * factor:.3g}"
    if len(design.seeds) > 1 or design.rate_factors:
        label += f", seed {seed}"
    config = overridden(base, {**overrides, f"{MODEL}.seed": seed})
    plain: JsonObject = dict(overrides)
    name = TrialName(label=label, arm=arm.name, overrides=plain, seed=seed)
    return PlannedTrial(name=name, config=config, factor=factor)


def overridden(base: PipelineConfig, overrides: Overrides) -> PipelineConfig:
    """Lay settings by `section.field` over a configuration.

    Raises:
        ValueError: A key is unknown, or a value cannot be.
    """
    overlay: RawConfig = {}
    for key, value in overrides.items():
        section, dot, name = key.partition(".")
        if not dot:
            raise ValueError(f"setting ({key!r}) must look like section.field")
        overlay.setdefault(section, {})[name] = value
    return resolve_config(base, overlay)
