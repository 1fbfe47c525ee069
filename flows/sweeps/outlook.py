"""What a sweep would do: its trials, what is there, how long the rest takes, what it can show."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from artifacts.identity import Reference
from artifacts.record import Record
from artifacts.store import list_records
from flows.config import PipelineConfig
from flows.stages import MODEL, TRIAL_STAGES, walk_stages
from flows.sweeps.design import Arm, Design
from flows.sweeps.running import Trials
from flows.sweeps.trials import PlannedTrial, best_factors, final_round, plan_trial, tuning_round
from flows.sweeps.walk import Identifying, identify_trial
from lm.accounting.parameters import num_parameters
from lm.experiment_statistics import difference_deviation, power_statement
from tasks.corpus.source import Source
from tasks.corpus.text import with_source
from tasks.execution.prediction import Outlook
from tasks.experiments.trial_files import trial_of
from tasks.stage import S, Stage
from tasks.sweep import known_noise_floor


@dataclass(frozen=True, kw_only=True)
class TrialOutlook:
    """One row of the table before a sweep."""

    label: str
    status: str
    """HIT, MISS, or UNKNOWN while the corpus was not fetched."""
    num_parameters: int
    seconds: float | None
    """Predicted, for a miss; None where nothing is known yet."""


@dataclass(frozen=True, kw_only=True)
class SweepOutlook:
    """What is known of a sweep before it starts."""

    trials: tuple[TrialOutlook, ...]
    power: str
    """What the planned seeds can show; "" where no noise floor is known."""

    @property
    def num_missing(self) -> int:
        """Trials that are to be trained."""
        return sum(trial.status != "HIT" for trial in self.trials)

    @property
    def minutes(self) -> float | None:
        """Predicted minutes of all misses, one after the other; None where one is unknown."""
        missing = [trial.seconds for trial in self.trials if trial.status != "HIT"]
        known = [seconds for seconds in missing if seconds is not None]
        return sum(known) / 60 if len(known) == len(missing) else None


def look_ahead(design: Design, base: PipelineConfig, trials: Trials) -> SweepOutlook:
    """Look up every trial of a design; a rate not tuned yet is taken for the preset's."""
    records = list_records(trials.store)
    tuning = tuning_round(design, base) if design.rate_factors else []
    found = [(planned, trials.find(planned)) for planned in tuning]
    tuned = [trial_of(files, planned.name) for planned, files in found if files is not None]
    best = {arm.name: 1.0 for arm in design.arms} | best_factors(design, tuned)
    planned = [*tuning, *final_round(design, base, best)]
    return SweepOutlook(
        trials=tuple(_trial_outlook(trial, trials, records) for trial in planned),
        power=_power(design, base, trials, records),
    )


def _trial_outlook(
    planned: PlannedTrial, trials: Trials, records: Sequence[Record]
) -> TrialOutlook:
    status = "HIT"
    if trials.find(planned) is None:
        is_known = identify_trial(planned.config, trials.store, trials.root)
        status = "MISS" if is_known else "UNKNOWN"
    return TrialOutlook(
        label=planned.name.label,
        status=status,
        num_parameters=num_parameters(planned.config.model),
        seconds=None if status == "HIT" else _seconds(planned.config, trials, records),
    )


def _seconds(config: PipelineConfig, trials: Trials, records: Sequence[Record]) -> float | None:
    predicting = _Predicting(config, trials, records)
    walk_stages(config, predicting)
    known = [seconds for seconds in predicting.seconds if seconds is not None]
    return sum(known) if len(known) == len(TRIAL_STAGES) else None


class _Predicting(Identifying):
    """A visitor that adds up what the stages of a trial are expected to take."""

    def __init__(self, config: PipelineConfig, trials: Trials, records: Sequence[Record]) -> None:
        super().__init__(trials.store, trials.root)
        self.outlook = Outlook(
            records=records,
            corpus=config.corpus.name,
            model=config.model,
            options=config.run.options,
        )
        self.seconds: list[float | None] = []

    def pin(self, source: Source) -> Source:
        known = super().pin(source)
        self.outlook = with_source(self.outlook, known)
        return known

    def visit(
        self, stage: Stage[S], settings: S, label: str = "", **inputs: Reference
    ) -> Reference:
        if stage.name in TRIAL_STAGES:
            self.seconds.append(stage.predict(settings, self.outlook).seconds)
        return super().visit(stage, settings, label, **inputs)


def _power(design: Design, base: PipelineConfig, trials: Trials, records: Sequence[Record]) -> str:
    """State which differences the planned seeds show, where the spread of the base is known."""
    if not design.against:
        return ""
    own = plan_trial(base, Arm(name="base"), base.train_lm.seed, 1.0, design)
    identities = identify_trial(own.config, trials.store, trials.root)
    floor = known_noise_floor(records, identities[MODEL].fingerprint) if identities else None
    if floor is None:
        return ""
    return power_statement(
        len(design.seeds),
        deviation=difference_deviation(floor.standard_deviation),
        num_comparisons=max(1, design.num_comparisons),
    )


def open_trials(store_url: str, root: Path, kept: str) -> Trials:
    """Open what trials are looked up in: the store, and the folder of kept trials."""
    from artifacts.store import open_store

    store = open_store(store_url, cache_dir=root / "cache")
    return Trials(store=store, root=root, kept=Path(kept) if kept else None)
