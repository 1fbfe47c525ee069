"""Stage `sweep`: what a sweep found, from the models and evaluations of its trials."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from prefect import task
from prefect.client.schemas.objects import State

from artifacts.building.staging import Staging, add_part
from artifacts.identity import Identity, Reference
from artifacts.record import JsonObject, Record
from tasks.context import RunContext
from tasks.execution.building import Built, build_once
from tasks.experiments.sweep_results import SWEEP_FORMAT, NoiseFloor, SweepResult, Trial
from tasks.stage import STAGE_OPTIONS
from tasks.tracking.runs import TrackedRun

STAGE = "sweep"
VERSION = 1

RESULT = "sweep.json"
NOISE_KIND = "seeds"
"""The kind of sweep that measures the noise floor of a configuration."""


@dataclass(frozen=True, kw_only=True)
class TrialInputs:
    """The artifacts that a trial's results are from."""

    model: Reference
    evaluation: Reference


def sweep_identity(result: SweepResult, inputs: Sequence[TrialInputs]) -> Identity:
    """Return what a sweep's result depends on: the artifacts of its trials, and their names.

    A trial that failed has none, so a sweep that completes it later is another one. The command
    is left out: it may name places of one machine.
    """
    names = ("label", "arm", "overrides", "seed")
    config = {
        name: getattr(result, name)
        for name in ("kind", "preset", "corpus", "axis", "held_equal", "notes", "settings")
    }
    trials = [{name: getattr(trial, name) for name in names} for trial in result.trials]
    references = {}
    for number, trial in enumerate(inputs):
        references[f"model {number}"] = trial.model
        references[f"evaluation {number}"] = trial.evaluation
    return Identity(
        stage=STAGE,
        version=VERSION,
        config={"format": SWEEP_FORMAT, **config, "trials": trials},
        inputs=references,
    )


@task(name=STAGE, task_run_name=STAGE, **STAGE_OPTIONS)
def publish_sweep(context: RunContext, identity: Identity, result: SweepResult) -> State[Reference]:
    """Publish the result of a sweep."""

    def build(staging: Staging) -> Built:
        path = staging.workdir / RESULT
        data = {"format": SWEEP_FORMAT, **asdict(result)}
        path.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        add_part(staging, path, RESULT)
        return Built(statistics=_statistics(result))

    return build_once(context, identity, build)


def known_noise_floor(records: Sequence[Record], model: str) -> NoiseFloor | None:
    """Return the newest noise floor to which a model's trial belongs, by its fingerprint.

    Only a sweep of seeds tells it: in others the baseline may have been tuned.
    """
    for record in records:
        facts = record.statistics
        if record.stage != STAGE or facts["kind"] != NOISE_KIND or not facts["noise_floor"]:
            continue
        if model in {item.fingerprint for item in record.inputs.values()}:
            return NoiseFloor(**facts["noise_floor"])
    return None


def _statistics(result: SweepResult) -> JsonObject:
    """Return what is worth seeing without opening the file."""
    statuses = Counter(trial.status for trial in result.trials)
    floor = result.noise_floor
    return {
        "kind": result.kind,
        "preset": result.preset,
        "corpus": result.corpus,
        "settings": result.settings,
        "num_trials": len(result.trials),
        "statuses": dict(statuses),
        "noise_floor": asdict(floor) if floor else None,
        "verdicts": {item.arm: item.verdict for item in result.comparisons},
    }


def track_trial(run: TrackedRun, trial: Trial) -> None:
    """Put a trial's curve and its ends into its run; tokens and seconds serve as axes.

    MLflow's charts take any metric as their horizontal axis.
    """
    rows = [
        {
            "step": point.step,
            "axis/tokens": point.tokens,
            "axis/seconds": point.seconds,
            "train/loss": point.train_loss,
            "valid/loss": point.valid_loss,
            "train/learning_rate": point.learning_rate,
        }
        for point in trial.curve
    ]
    run.log_metric_rows(rows)
    run.log_metrics({name: value for name, value in _ends(trial).items() if value is not None})
    facts = {"status": trial.status, "failure": trial.failure, "arm": trial.arm}
    run.set_tags({**facts, "artifact.model": trial.model, "artifact.evaluation": trial.evaluation})


def _ends(trial: Trial) -> dict[str, float | None]:
    """Return the numbers of a trial under names that say which they are."""
    train = [point.train_loss for point in trial.curve if point.train_loss is not None]
    valid = [point.valid_loss for point in trial.curve if point.valid_loss is not None]
    return {
        "end/valid_loss_full_set": trial.valid_loss,
        "end/valid_loss_last_sample": valid[-1] if valid else None,
        "end/valid_loss_lowest_sample": trial.best_valid_loss,
        "end/train_loss_last": trial.last_finite_loss,
        "end/train_loss_lowest": min(train, default=None),
        "end/bits_per_byte_full_set": trial.bits_per_byte,
        "end/diverged_at_step": trial.diverged_at_step,
        "end/diverged_at_rate": trial.diverged_at_rate,
        "end/seconds": trial.seconds,
        "end/tokens": trial.tokens,
        "end/num_parameters": trial.num_parameters,
    }
