"""The flow `owt-report`: make what is missing, then write the page from what is in the store."""

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from prefect import flow
from prefect.artifacts import create_link_artifact
from prefect.states import Cancelled

from artifacts.identity import Reference
from artifacts.published.checking import check
from artifacts.store import Store, file_uri, record_of
from flows.config import PipelineConfig, recipe_of, resolve_config
from flows.context import open_run
from flows.pipeline import Performing, name_run
from flows.presets import find_preset
from flows.reporting.report_sweeps import SWEEP_SETS, newest_sweeps, run_sweeps
from flows.restarts import refuse_hopeless_restart
from flows.selection import select_stages
from flows.settings import data_root
from flows.stages import MODEL, Visitor, placeholder, stage_rows, walk_stages
from flows.summary import StageEnding, summarize
from flows.sweeps.designs import SWEEPS
from flows.view.showing import showing_run
from lm.config import GenerateConfig
from tasks.compare_tokenizers import (
    COMPARE_TOKENIZERS,
    comparison_identity,
    comparison_inputs,
)
from tasks.context import RunContext, store_of
from tasks.corpus.source import Source, with_known_hash
from tasks.experiments.tokenizer_measures import ComparisonConfig
from tasks.report.other_corpora import find_other_corpora
from tasks.report.settings import Order, ReportSettings
from tasks.report.write import HTML, REPORT, report_identity
from tasks.stage import S, Stage
from tasks.tracking.runs import flatten
from tasks.watching.events import RunStarted, emit
from tasks.watching.stopping import RunStopped, result_of

SAMPLED = ((0.0, 1.0), (0.7, 1.0), (1.0, 1.0), (1.0, 0.9), (1.0, 0.5))
"""Temperatures and top-p at which a report lets the model write, one varied at a time."""
SAMPLED_TOKENS = 256
"""New tokens of each: what the course asks for (CS336 A1, section 7.2)."""


@flow(name="owt-report", flow_run_name=name_run, persist_result=False)
def owt_report(
    preset: str = "smoke",
    overrides: list[str] | None = None,
    config: dict[str, Any] | None = None,
    order: Order = "study",
    make_missing: bool = True,
    with_sweeps: bool = True,
) -> dict[str, Any]:
    """Write the report of a preset's run and of its sweeps.

    Args:
        preset: Name of a preset in `flows/presets.py`.
        overrides: Settings such as `train_lm.max_steps=100`, laid over the preset last.
        config: Sections and fields, as in a TOML file, laid over the preset first.
        order: By question (`study`) or by the course's problems (`course`).
        make_missing: Run what is missing first; else the page says how to.
        with_sweeps: Run the preset's sweeps, too; else those in the store are shown.

    Returns:
        A summary as plain JSON: the report's place, its page, and what it was made from.
    """
    refuse_hopeless_restart()
    resolved = resolve_config(find_preset(preset), config, overrides or ())
    arguments = arguments_of(preset, overrides, config)
    with showing_run(data_root()):
        rows = stage_rows(resolved, select_stages().wanted) if make_missing else ()
        emit(RunStarted(title=f"report of {arguments}", stages=rows))
        sweeps = SWEEP_SETS.get(preset) if make_missing and with_sweeps else None
        ran = run_sweeps(sweeps, preset, overrides, config, arguments) if sweeps else {}
        notes = (sweeps.note,) if sweeps else ()
        settings = report_settings(resolved, preset, arguments, order=order, notes=notes)
        return _perform(resolved, settings, ran, make_missing=make_missing)


def _perform(
    config: PipelineConfig,
    settings: ReportSettings,
    ran: Mapping[str, Reference],
    *,
    make_missing: bool,
) -> dict[str, Any]:
    """Make what is missing, write the page, and tell MLflow how it ended.

    Args:
        config: The run that the report is about.
        settings: What the page says and no artifact holds, without the walk's stages.
        ran: Sweeps that were run for this report.
        make_missing: Run what is missing of the pipeline.
    """
    preset, title = settings.preset, f"report of {settings.arguments}"
    context, tracked = open_run(config, preset, select_stages(), title=title)
    try:
        store = store_of(context)
        looking = Looking(store, Path(context.root))
        found = Noting(Performing(context, select_stages(), config) if make_missing else looking)
        walk_stages(config, found)
        sample(found)
        inputs = {
            name: reference for name, reference in found.references() if looking.has(reference)
        }
        inputs |= comparison(context, inputs, config, make_missing=make_missing)
        own_model = record_of(store, inputs[MODEL]) if MODEL in inputs else None
        inputs |= find_other_corpora(store, config.corpus.name, own_model)
        inputs |= {**newest_sweeps(store, settings), **ran}
        ending = _write(context, replace(settings, stages=tuple(found.names)), inputs)
    except RunStopped as stop:
        tracked.finish("KILLED")
        # Prefect takes a state that a flow returns as the run's own.
        return cast("dict[str, Any]", Cancelled(message=f"stopped {stop}".strip()))
    except BaseException as error:
        tracked.finish("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    _link(store, ending.reference)
    summary = summarize([ending], context, tracked)
    tracked.finish("FINISHED")
    page = file_uri(store, ending.reference, HTML)
    return {**summary, "page": page, "made_from": list(inputs)}


@dataclass(frozen=True, kw_only=True)
class Visited:
    """One stage of a walk, with what it was asked and what it gave."""

    stage: Stage[Any]  # a walk holds stages of different settings
    settings: Any
    label: str
    inputs: Mapping[str, Reference]
    reference: Reference

    @property
    def name(self) -> str:
        """The stage with its split."""
        return f"{self.stage.name} {self.label}".strip()


class Noting:
    """Keeps what another visitor gives at each stage."""

    def __init__(self, inner: Visitor) -> None:
        self.inner = inner
        self.visited: list[Visited] = []
        self.names: list[str] = []
        """Of the walk's stages; what is visited later has none."""

    def pin(self, source: Source) -> Source:
        """Return what the other visitor finds out."""
        return self.inner.pin(source)

    def visit(
        self, stage: Stage[S], settings: S, label: str = "", **inputs: Reference
    ) -> Reference:
        """Let the other visitor work, and keep what it gives."""
        reference = self.inner.visit(stage, settings, label, **inputs)
        visited = Visited(
            stage=stage, settings=settings, label=label, inputs=inputs, reference=reference
        )
        self.visited.append(visited)
        self.names.append(visited.name)
        return reference

    def references(self) -> Iterator[tuple[str, Reference]]:
        """Yield the references that have a fingerprint, by the names of the stages."""
        for visited in self.visited:
            if visited.reference.fingerprint:
                yield visited.name, visited.reference


class Looking:
    """Knows artifacts by what they are made from, and builds none."""

    def __init__(self, store: Store, root: Path) -> None:
        self.store = store
        self.root = root

    def pin(self, source: Source) -> Source:
        """Return the source with its hash, as far as it is known without fetching."""
        return with_known_hash(source, self.root)

    def visit(
        self, stage: Stage[S], settings: S, label: str = "", **inputs: Reference
    ) -> Reference:
        """Return the reference that the artifact has, or would have."""
        del label
        is_known = all(reference.fingerprint for reference in inputs.values())
        identity = stage.identify(settings, **inputs) if is_known else None
        return identity.reference(self.store.url) if identity else placeholder(stage)

    def has(self, reference: Reference) -> bool:
        """Tell whether an artifact is in the store, whole."""
        return check(self.store, reference).status == "hit"


def sample(found: Noting) -> None:
    """Let the model write at several temperatures and top-p, with the stage that lets it write."""
    for visited in [v for v in found.visited if isinstance(v.settings, GenerateConfig)]:
        for temperature, top_p in SAMPLED:
            settings = replace(
                visited.settings,
                temperature=temperature,
                top_p=top_p,
                max_new_tokens=SAMPLED_TOKENS,
            )
            label = f"temperature {temperature:g} top-p {top_p:g}"
            reference = found.inner.visit(visited.stage, settings, label, **visited.inputs)
            found.visited.append(replace(visited, label=label, reference=reference))


def comparison(
    context: RunContext,
    own: Mapping[str, Reference],
    config: PipelineConfig,
    *,
    make_missing: bool,
) -> dict[str, Reference]:
    """Return the comparison of this tokenizer with those of other corpora in the store, if any."""
    store = store_of(context)
    inputs = comparison_inputs(store, own, config.corpus.name)
    if not inputs:
        return {}
    settings = ComparisonConfig(separator=config.corpus.document_separator)
    identity = comparison_identity(settings, **inputs)
    if make_missing:
        return {identity.stage: result_of(COMPARE_TOKENIZERS.perform(context, identity, settings))}
    reference = identity.reference(store.url)
    return {identity.stage: reference} if check(store, reference).status == "hit" else {}


def _write(
    context: RunContext, settings: ReportSettings, inputs: Mapping[str, Reference]
) -> StageEnding:
    """Find or write the page."""
    clock = time.perf_counter()
    state = REPORT.perform(context, report_identity(settings, **inputs), settings)
    return StageEnding(
        stage=REPORT,
        label=settings.order,
        reference=result_of(state),
        is_cached=state.name == "Cached",
        seconds=round(time.perf_counter() - clock, 2),
    )


def report_settings(
    resolved: PipelineConfig,
    preset: str,
    arguments: str,
    *,
    order: Order = "study",
    notes: tuple[str, ...] = (),
) -> ReportSettings:
    """Return what the report is asked to be about."""
    return ReportSettings(
        preset=preset,
        corpus=resolved.corpus.name,
        arguments=arguments,
        config=recipe_of(resolved),
        baseline=recipe_of(find_preset("tinystories")),
        sweeps=tuple(kind for kind in SWEEPS if kind != "grid"),
        order=order,
        notes=notes,
    )


def arguments_of(
    preset: str, overrides: Sequence[str] | None, config: Mapping[str, Any] | None
) -> str:
    """Return the options that give the same configuration again, quoted for a shell."""
    settings = [f"{name}={value}" for name, value in flatten(config or {}).items()]
    options = ["--preset", preset]
    for setting in [*settings, *(overrides or ())]:
        options += ["--set", setting]
    return shlex.join(options)


def _link(store: Store, page: Reference) -> None:
    """Put the page on the Prefect run's page."""
    create_link_artifact(
        link=file_uri(store, page, HTML),
        link_text=HTML,
        key="report-page",
        description=f"{page.place}; it is also among the files of the MLflow run",
    )
