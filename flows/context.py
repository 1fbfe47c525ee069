"""The facts of a run that change no result, and the MLflow run that belongs to it."""

import dataclasses
import os
from pathlib import Path
from typing import Any

from prefect import runtime
from prefect.artifacts import create_link_artifact

from flows.config import PipelineConfig
from flows.dead_runs import end_killed_runs
from flows.selection import Selection
from flows.settings import (
    EXPERIMENT,
    MLFLOW_PAGE,
    artifact_location,
    code_version,
    data_root,
    numba_cache_dir,
    passing_prefect_url,
    store_url,
    tracking_uri,
)
from tasks.context import RunContext
from tasks.tracking.dead_runs import FLOW_RUN_TAG, process_tag
from tasks.tracking.family import family_tag
from tasks.tracking.runs import TrackedRun, TrackingTarget, page_address, start_pipeline_run


def open_run(
    config: PipelineConfig, preset: str, selection: Selection, *, title: str
) -> tuple[RunContext, TrackedRun]:
    """Gather the facts of this run that change no result, and open its MLflow run."""
    root = data_root()
    tracked = _open_tracked_run(config, preset, root, title)
    _link_to(tracked)
    context = RunContext(
        store_url=store_url(config.run.store),
        root=str(root),
        workers=config.run.workers or os.cpu_count() or 1,
        tracking=dataclasses.replace(tracked.target, parent_run_id=tracked.run_id),
        labels={"preset": preset, "corpus": config.corpus.name},
        code_version=code_version(Path(__file__).parents[1]),
        cluster=config.run.cluster,
        options=config.run.options,
        retries=config.run.retries,
        retry_delay_s=config.run.retry_delay_s,
        force=selection.force,
        required=selection.required,
        flow_run_id=str(runtime.flow_run.id or ""),
        kernel_cache=numba_cache_dir(),
    )
    return context, tracked


def tracked_settings(config: PipelineConfig) -> dict[str, Any]:
    """Return the settings that MLflow shows: all that determine the result."""
    params = dataclasses.asdict(config)
    del params["run"]
    return params


def _open_tracked_run(config: PipelineConfig, preset: str, root: Path, title: str) -> TrackedRun:
    uri = tracking_uri(root)
    artifacts = artifact_location(root, uri)
    (root / "mlflow").mkdir(parents=True, exist_ok=True)
    params = tracked_settings(config)
    page = flow_run_page(root)
    target = TrackingTarget(uri=uri, experiment=EXPERIMENT, artifact_location=artifacts)
    killed = end_killed_runs(target)
    return start_pipeline_run(
        target,
        name=title,
        params=params,
        tags={
            "preset": preset,
            "corpus": config.corpus.name,
            FLOW_RUN_TAG: str(runtime.flow_run.id or ""),
            **({"prefect.flow_run_url": page} if page else {}),
            **process_tag(),
            **family_tag(params),
            **({"continues": " ".join(killed)} if killed else {}),
        },
    )


def flow_run_page(root: Path) -> str:
    """Return the address of the run's page; "" where it goes with the command that has its server.

    Such a run has its page in `owt ui`, at another port.
    """
    address = str(runtime.flow_run.ui_url or "")
    passing = passing_prefect_url(root).removesuffix("/api")
    is_lasting = address.startswith("http") and not (passing and address.startswith(passing))
    return address if is_lasting else ""


def _link_to(tracked: TrackedRun) -> None:
    """Put the MLflow run on the page of the Prefect run; the tags hold the way back."""
    if tracked.run_id:
        create_link_artifact(
            link=page_address(tracked, MLFLOW_PAGE),
            link_text="MLflow run" if tracked.target.uri.startswith("http") else "after owt ui",
            key="mlflow-run",
            description=f"MLflow run {tracked.run_id} in {tracked.target.uri}",
        )
