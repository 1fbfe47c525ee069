"""What a run keeps about itself: its context, how each stage ended, its MLflow run, its summary."""

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import runtime
from prefect.artifacts import create_link_artifact
from prefect.client.schemas.objects import State

from artifacts.identity import Reference
from artifacts.reading import local_folder
from artifacts.store import record_of
from flows.config import PipelineConfig
from flows.selection import Selection
from flows.settings import EXPERIMENT, MLFLOW_PAGE, code_version, data_root, tracking_uri
from tasks.evaluate import headline
from tasks.generate import SAMPLES_TEXT
from tasks.stage import RunContext, store_of
from tasks.tracking import TrackedRun, TrackingTarget, page_address, start_pipeline_run

StageCall = Callable[..., State[Any]]


class SelectionDone(Exception):  # noqa: N818 - it ends the run, it is no error
    """The last stage that was asked for has ended."""


class StageLog:
    """Performs the stages of one run and remembers how each ended."""

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.stages: list[dict[str, Any]] = []
        self.references: dict[str, Reference] = {}

    def perform(self, stage: str, label: str, call: StageCall, *args: Any) -> Reference:
        """Perform one stage; ends the run before the first one that was not asked for."""
        if stage not in self.selection.wanted:
            raise SelectionDone
        clock = time.perf_counter()
        state = call(*args)
        reference: Reference = state.result()
        self.references[f"{stage} {label}".strip()] = reference
        self.stages.append(
            {
                "stage": stage,
                "label": label,
                "cached": state.name == "Cached",
                "seconds": round(time.perf_counter() - clock, 2),
                **reference.to_json(),
            }
        )
        return reference


def open_run(
    config: PipelineConfig, preset: str, selection: Selection
) -> tuple[RunContext, TrackedRun]:
    """Gather the facts of this run that change no result, and open its MLflow run."""
    root = data_root()
    flow_run_id = str(runtime.flow_run.id or "")
    uri = tracking_uri(root)
    artifacts = (root / "mlflow" / "artifacts").as_uri() if uri.startswith("sqlite") else ""
    (root / "mlflow").mkdir(parents=True, exist_ok=True)
    target = TrackingTarget(uri=uri, experiment=EXPERIMENT, artifact_location=artifacts)
    params = {name: dict(section) for name, section in _sections(config) if name != "run"}
    tags = {
        "preset": preset,
        "corpus": config.corpus.name,
        "prefect.flow_run_id": flow_run_id,
        "prefect.flow_run_url": _flow_run_page(),
    }
    tracked = start_pipeline_run(
        target, name=str(runtime.flow_run.name or preset), params=params, tags=tags
    )
    _link_to(tracked)
    context = RunContext(
        store_url=config.run.store or str(root / "artifacts"),
        root=str(root),
        workers=config.run.workers or os.cpu_count() or 1,
        tracking=dataclasses.replace(target, parent_run_id=tracked.run_id),
        labels={"preset": preset, "corpus": config.corpus.name},
        code_version=code_version(Path(__file__).parents[1]),
        force=selection.force,
        required=selection.required,
        flow_run_id=flow_run_id,
    )
    return context, tracked


def _flow_run_page() -> str:
    """Return the address of the run's page; "" where Prefect knows of none."""
    address = str(runtime.flow_run.ui_url or "")
    return address if address.startswith("http") else ""


def _link_to(tracked: TrackedRun) -> None:
    """Put the MLflow run on the page of the Prefect run; the tags hold the way back."""
    if tracked.run_id:
        create_link_artifact(
            link=page_address(tracked, MLFLOW_PAGE),
            link_text="MLflow run" if tracked.target.uri.startswith("http") else "after owt ui",
            key="mlflow-run",
            description=f"MLflow run {tracked.run_id} in {tracked.target.uri}",
        )


def summarize(log: StageLog, context: RunContext, tracked: TrackedRun) -> dict[str, Any]:
    """Say how the run ended, from the records of its artifacts; MLflow gets the same facts."""
    store = store_of(context)
    summary: dict[str, Any] = {
        "store": store.url,
        "stages": log.stages,
        "mlflow_run_id": tracked.run_id,
    }
    for stage in log.stages:
        name = f"artifact.{stage['stage']}.{stage['label']}".rstrip(".")
        tags = {name: stage["uri"], f"{name}.fingerprint": stage["fingerprint"]}
        record = record_of(store, log.references[f"{stage['stage']} {stage['label']}".strip()])
        if mlflow_run_id := record.run_ids.get("mlflow"):
            tags[f"{name}.mlflow_run_id"] = mlflow_run_id
        tracked.set_tags(tags)
    for split in ("train", "valid"):
        if corpus := log.references.get(f"download {split}"):
            tracked.log_dataset(split, digest=corpus.fingerprint, source=corpus.uri, context=split)
    if evaluation := log.references.get("evaluate"):
        summary["evaluation"] = record_of(store, evaluation).statistics
        tracked.log_metrics(headline(summary["evaluation"]))
    if samples := log.references.get("generate"):
        text = (local_folder(store, samples) / SAMPLES_TEXT).read_text(encoding="utf-8")
        summary["samples"] = text
        summary["sample_statistics"] = record_of(store, samples).statistics
        tracked.log_text(text, SAMPLES_TEXT)
    return summary


def _sections(config: PipelineConfig) -> list[tuple[str, dict[str, Any]]]:
    return list(dataclasses.asdict(config).items())
