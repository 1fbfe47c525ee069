"""The flow `owt-pipeline`: from raw text to a model that writes text, stage by stage."""

import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from prefect import Task, flow, runtime
from prefect.client.schemas.objects import State
from prefect.tasks import exponential_backoff

from artifacts.reading import local_folder
from artifacts.record import Reference
from artifacts.store import record_of
from flows.config import PipelineConfig, resolve_config
from flows.presets import find_preset
from flows.selection import Selection, select_stages
from flows.settings import EXPERIMENT, code_version, data_root, tracking_uri
from tasks.count_pretokens import count_pretokens
from tasks.download import download
from tasks.encode_shards import encode_shards, shards_identity
from tasks.evaluate import evaluate, evaluation_identity, headline
from tasks.generate import SAMPLES_TEXT, generate, samples_identity
from tasks.stage import RunContext, store_of
from tasks.tracking import TrackedRun, TrackingTarget, start_pipeline_run
from tasks.train_lm import train_lm
from tasks.train_tokenizer import train_tokenizer

StageCall = Callable[..., State[Any]]


class SelectionDone(Exception):  # noqa: N818 - it ends the run, it is no error
    """The last stage that was asked for has ended."""


@flow(name="owt-pipeline", persist_result=False)
def owt_pipeline(
    preset: str = "smoke",
    overrides: list[str] | None = None,
    config: dict[str, Any] | None = None,
    only: str = "",
    start_from: str = "",
    force: list[str] | None = None,
) -> dict[str, Any]:
    """Turn a corpus into a tokenizer, shards, a model, its evaluation and its samples.

    Args:
        preset: Name of a preset in `flows/presets.py`.
        overrides: Settings such as `train_lm.max_steps=100`, laid over the preset last.
        config: Sections and fields, as in a TOML file, laid over the preset first.
        only: Perform this stage alone; what it builds on must be cached.
        start_from: Perform this stage and what follows; what comes before must be cached.
        force: Stages to build again though they are cached.

    Returns:
        A summary as plain JSON: the stages with their artifacts, the evaluation, the samples.
    """
    resolved = resolve_config(find_preset(preset), config, overrides or ())
    selection = select_stages(only=only, start_from=start_from, force=force or ())
    context, tracked = open_run(resolved, preset, selection)
    log = StageLog(selection)
    try:
        with suppress(SelectionDone):
            perform_stages(log, context, resolved)
    except BaseException as error:
        tracked.finish("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    summary = summarize(log, context, tracked)
    tracked.finish("FINISHED")
    return summary


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


def perform_stages(log: StageLog, context: RunContext, config: PipelineConfig) -> None:
    """Perform the stages in order, each on the references of those before."""
    perform = log.perform
    retries: dict[str, Any] = {
        "retries": config.run.retries,
        "retry_delay_seconds": exponential_backoff(config.run.retry_delay_s),
    }
    one = partial(_as_stage, retries)
    options = config.run.options
    corpus, separator = config.corpus, config.corpus.document_separator

    train_text = perform("download", "train", one(download), context, corpus, "train")
    valid_text = perform("download", "valid", one(download), context, corpus, "valid", train_text)

    counts = perform(
        "count_pretokens",
        "",
        partial(count_pretokens, **retries),
        context,
        config.tokenizer,
        train_text,
    )
    tokenizer = perform(
        "train_tokenizer", "", one(train_tokenizer), context, config.tokenizer, counts
    )

    shards = {}
    for split, text in {"train": train_text, "valid": valid_text}.items():
        identity = shards_identity(config.tokenizer, split, separator, text, tokenizer)
        encode = partial(encode_shards, **retries)
        shards[split] = perform("encode_shards", split, encode, context, identity)

    model = perform(
        "train_lm", "", one(train_lm), context, config.model, config.train_lm, options, shards
    )

    if "evaluate" in log.selection.wanted:
        evaluation = evaluation_identity(
            config.evaluate, model=model, tokenizer=tokenizer, **shards
        )
        perform("evaluate", "", one(evaluate), context, evaluation, config.evaluate, options)

    samples = samples_identity(config.generate, model=model, tokenizer=tokenizer)
    perform("generate", "", one(generate), context, samples, config.generate, options)


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
        "prefect.flow_run_url": str(runtime.flow_run.ui_url or ""),
    }
    tracked = start_pipeline_run(
        target, name=str(runtime.flow_run.name or preset), params=params, tags=tags
    )
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
        tracked.set_tags({name: stage["uri"], f"{name}.fingerprint": stage["fingerprint"]})
    for split in ("train", "valid"):
        if corpus := log.references.get(f"download {split}"):
            tracked.log_dataset(split, digest=corpus.fingerprint, source=corpus.uri, context=split)
    if evaluation := log.references.get("evaluate"):
        summary["evaluation"] = record_of(store, evaluation).statistics
        tracked.log_metrics(headline(summary["evaluation"]))
    if samples := log.references.get("generate"):
        text = (local_folder(store, samples) / SAMPLES_TEXT).read_text(encoding="utf-8")
        summary["samples"] = text
        tracked.log_text(text, SAMPLES_TEXT)
    return summary


def _as_stage(options: Mapping[str, Any], task: Task[..., Any]) -> StageCall:
    """Return a call of the task that gives its state, which says whether it was cached."""
    call: StageCall = partial(task.with_options(**options), return_state=True)  # type: ignore[assignment] # Prefect's overloads also allow coroutines
    return call


def _sections(config: PipelineConfig) -> list[tuple[str, dict[str, Any]]]:
    return list(dataclasses.asdict(config).items())
