"""How a run ended: for its caller as plain JSON, and for MLflow as tags, metrics and texts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from artifacts.identity import Reference
from artifacts.record import JsonObject
from artifacts.store import record_of
from tasks.context import RunContext, store_of
from tasks.stage import Shown, Stage
from tasks.tracking.runs import TrackedRun

STAGES_FILE = "stages.json"
"""The run's file in MLflow: its stages, with artifacts and the runs that built them."""


@dataclass(frozen=True, kw_only=True)
class StageEnding:
    """How one stage of a run ended."""

    stage: Stage[Any]  # a run holds stages of different settings
    label: str
    reference: Reference
    is_cached: bool
    seconds: float


def summarize(
    endings: Sequence[StageEnding], context: RunContext, tracked: TrackedRun
) -> JsonObject:
    """Return how the run ended, from the records of its artifacts; MLflow gets the same facts."""
    store = store_of(context)
    stages = []
    for ending in endings:
        record = record_of(store, ending.reference)
        shown = ending.stage.show(store, record)
        _track(tracked, ending, shown)
        stages.append(
            {
                **ending.reference.to_json(),
                "label": ending.label,
                "mlflow_run_id": record.run_ids.get("mlflow", ""),
                "cached": ending.is_cached,
                "seconds": ending.seconds,
                "statistics": record.statistics,
                "shown": asdict(shown),
            }
        )
    # A file, because a tag for each hash would fill the run's page before its numbers.
    kept = ("stage", "label", "fingerprint", "uri", "cached", "mlflow_run_id")
    tracked.log_json([{name: stage[name] for name in kept} for stage in stages], STAGES_FILE)
    return {"store": store.url, "stages": stages, "mlflow_run_id": tracked.run_id}


def loss_of(summary: JsonObject) -> float | None:
    """Return the validation loss of the run's evaluation, if it has one."""
    losses = [stage["shown"]["metrics"].get("valid/loss") for stage in summary["stages"]]
    return next((float(loss) for loss in losses if loss is not None), None)


def _track(tracked: TrackedRun, ending: StageEnding, shown: Shown) -> None:
    """Tell the run in MLflow what is shown of a stage's artifact."""
    reference = ending.reference
    if shown.metrics:
        tracked.log_metrics(shown.metrics)
    if shown.text:
        tracked.log_text(shown.text, shown.text_name)
    if shown.dataset:
        tracked.log_dataset(
            shown.dataset,
            digest=reference.fingerprint,
            source=reference.uri,
            context=shown.dataset,
        )
