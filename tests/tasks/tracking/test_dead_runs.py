"""Runs that a killed process left as RUNNING are ended; those of living ones go on."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from artifacts.lease.builder_process import this_process
from tasks.tracking.dead_runs import FLOW_RUN_TAG, PROCESS_TAG, DeadRun, end_runs_of, process_tag
from tasks.tracking.runs import TrackingTarget, start_pipeline_run


@pytest.fixture
def target(tmp_path: Path) -> TrackingTarget:
    """Return an experiment in a database of its own."""
    return TrackingTarget(uri=f"sqlite:///{tmp_path}/mlflow.db", experiment="e")


def dead_process() -> str:
    """Return the tag of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return json.dumps(asdict(this_process()) | {"pid": process.pid, "started": "1"})


def status_of(target: TrackingTarget, run_id: str) -> Any:
    """Return how MLflow shows a run."""
    return MlflowClient(tracking_uri=target.uri).get_run(run_id).info.status


def test_only_the_runs_of_dead_processes_end(target: TrackingTarget) -> None:
    """A dead process's run and the one below it are KILLED; others stay, also foreign ones."""
    assert end_runs_of(target) == []
    tags = {PROCESS_TAG: dead_process(), FLOW_RUN_TAG: "a-flow-run"}
    dead = start_pipeline_run(target, name="dead", params={}, tags=tags)
    client = MlflowClient(tracking_uri=target.uri)
    parent = {"mlflow.parentRunId": dead.run_id}
    below = client.create_run(dead.experiment_id, tags=parent).info.run_id
    mine = start_pipeline_run(target, name="mine", params={}, tags=process_tag())
    foreign = [
        start_pipeline_run(target, name="foreign", params={}, tags=tags).run_id
        for tags in ({}, {PROCESS_TAG: "no JSON"}, {PROCESS_TAG: '{"pid": 3}'})
    ]
    assert end_runs_of(target) == [DeadRun(dead.run_id, "a-flow-run")]
    assert [status_of(target, run_id) for run_id in (dead.run_id, below)] == ["KILLED"] * 2
    assert {status_of(target, run_id) for run_id in (mine.run_id, *foreign)} == {"RUNNING"}
    assert end_runs_of(target) == []


def test_a_run_below_one_that_has_ended_ends(target: TrackingTarget) -> None:
    """A stop while a stage's run was opened ended the run above it; below a living one it stays."""
    over = start_pipeline_run(target, name="over", params={}, tags=process_tag())
    alive = start_pipeline_run(target, name="alive", params={}, tags=process_tag())
    client = MlflowClient(tracking_uri=target.uri)
    left, kept = (
        client.create_run(run.experiment_id, tags={"mlflow.parentRunId": run.run_id}).info.run_id
        for run in (over, alive)
    )
    over.finish("KILLED")
    assert end_runs_of(target) == []
    assert [status_of(target, run_id) for run_id in (left, kept)] == ["KILLED", "RUNNING"]


def test_an_earlier_attempt_of_the_flow_run_has_ended_on_every_machine(
    target: TrackingTarget,
) -> None:
    """A killed container was another machine; the next one resumes its flow run."""
    elsewhere = json.dumps(asdict(this_process()) | {"boot": "another"})
    before, other = (
        start_pipeline_run(target, name=name, params={}, tags=tags).run_id
        for name, tags in (
            ("before", {PROCESS_TAG: elsewhere, FLOW_RUN_TAG: "mine"}),
            ("other", {PROCESS_TAG: elsewhere, FLOW_RUN_TAG: "another"}),
        )
    )
    assert end_runs_of(target) == []
    assert end_runs_of(target, flow_run_id="mine") == [DeadRun(before, "mine")]
    assert [status_of(target, run_id) for run_id in (before, other)] == ["KILLED", "RUNNING"]


def test_without_mlflow_nothing_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A database that cannot be opened is a warning, not an error."""
    (tmp_path / "file").touch()
    target = TrackingTarget(uri=f"sqlite:///{tmp_path}/file/mlflow.db", experiment="e")
    assert end_runs_of(target) == []
    assert "killed runs stay as they are" in caplog.text
