"""How a run ended: for its caller as plain JSON, and for MLflow as tags, metrics and texts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from artifacts.identity import Reference
from artifacts.record import JsonObject
from artifacts.store import record_of
from tasks.context import RunContext, store_of
from tasks.stage import Shown, Stage
from tasks.tracking import TrackedRun


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
        _track(tracked, ending, shown, record.run_ids.get("mlflow", ""))
        stages.append(
            {
                **ending.reference.to_json(),
                "label": ending.label,
                "cached": ending.is_cached,
                "seconds": ending.seconds,
                "statistics": record.statistics,
                "shown": asdict(shown),
            }
        )
    return {"store": store.url, "stages": stages, "mlflow_run_id": tracked.run_id}


def _track(tracked: TrackedRun, ending: StageEnding, shown: Shown, run_id: str) -> None:
    """Tell the run in MLflow which artifact the stage gave, and what is shown of it."""
    reference = ending.reference
    name = f"artifact.{reference.stage}.{ending.label}".rstrip(".")
    tags = {name: reference.uri, f"{name}.fingerprint": reference.fingerprint}
    if run_id:
        tags[f"{name}.mlflow_run_id"] = run_id
    tracked.set_tags(tags)
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
