"""MLflow's list has one row for each setting: repeats and failed attempts are children."""

from pathlib import Path
from typing import Any

from mlflow.tracking import MlflowClient

from tasks.tracking.family import family_tag, join_family
from tasks.tracking.runs import PARENT_TAG, TrackedRun, TrackingTarget, start_pipeline_run


def ended(target: TrackingTarget, settings: dict[str, Any], status: str) -> TrackedRun:
    """Return a run of these settings that has ended."""
    run = start_pipeline_run(target, name="run", params={}, tags=family_tag(settings))
    run.finish(status)
    return run


def test_repeats_and_failures_are_children(tmp_path: Path) -> None:
    """An attempt that was killed and a run that built nothing are below the one that counts."""
    target = TrackingTarget(uri=f"sqlite:///{tmp_path}/mlflow.db", experiment="test")
    client = MlflowClient(target.uri)
    mine: dict[str, object] = {"model": {"d_model": 4}}
    other: dict[str, object] = {"model": {"d_model": 8}}
    killed = ended(target, mine, "KILLED")
    foreign = ended(target, other, "FAILED")
    good = ended(target, mine, "FINISHED")
    join_family(good, mine, built_nothing=False)
    repeat = ended(target, mine, "FINISHED")
    join_family(repeat, mine, built_nothing=True)

    def parent(run: TrackedRun) -> str | None:
        return client.get_run(run.run_id).data.tags.get(PARENT_TAG)

    assert [parent(run) for run in (killed, repeat)] == [good.run_id] * 2
    assert [parent(run) for run in (good, foreign)] == [None, None]
