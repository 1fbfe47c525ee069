"""The flow `owt-pipeline`: from raw text to a model that writes text, stage by stage."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from prefect import Task, flow, runtime
from prefect.tasks import exponential_backoff

from flows.bookkeeping import SelectionDone, StageCall, StageLog, open_run, summarize
from flows.config import PipelineConfig, resolve_config
from flows.presets import find_preset
from flows.selection import select_stages
from tasks.count_pretokens import count_pretokens
from tasks.download import download
from tasks.encode_shards import encode_shards, shards_identity
from tasks.evaluate import evaluate, evaluation_identity
from tasks.generate import generate, samples_identity
from tasks.stage import RunContext
from tasks.train_lm import train_lm
from tasks.train_tokenizer import train_tokenizer


def name_run() -> str:
    """Name a flow run by its preset and the moment it began."""
    began = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{runtime.flow_run.parameters['preset']} {began}"


@flow(name="owt-pipeline", flow_run_name=name_run, persist_result=False)
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

    samples = samples_identity(
        config.generate, model=model, tokenizer=tokenizer, train=shards["train"]
    )
    perform("generate", "", one(generate), context, samples, config.generate, options)


def _as_stage(options: Mapping[str, Any], task: Task[..., Any]) -> StageCall:
    """Return a call of the task that gives its state, which says whether it was cached."""
    call: StageCall = partial(task.with_options(**options), return_state=True)  # type: ignore[assignment] # Prefect allows coroutines too
    return call
