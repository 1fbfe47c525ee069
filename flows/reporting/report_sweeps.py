"""The sweeps of a report: few small ones that it runs by itself, or those that are in the store."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from artifacts.identity import Reference
from artifacts.record import Record
from artifacts.store import Store, list_records, reference_of
from flows.stages import MODEL
from flows.sweeps.flow import owt_sweep
from tasks.report.evidence import SWEEP_STAGE
from tasks.report.settings import ReportSettings
from tasks.report.wording import plain
from tasks.tracking.runs import flatten
from tasks.watching.stopping import result_of


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRequest:
    """One sweep, with what differs from how `owt sweep` runs its kind."""

    kind: str
    grid: Mapping[str, Sequence[object]] = field(default_factory=dict)
    arms: tuple[str, ...] = ()
    seeds: int = 0
    rates: int = 3
    hold: str = "tokens"


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepSet:
    """The sweeps of a preset's report."""

    settings: tuple[str, ...]
    """Laid over the preset, after the user's."""
    requests: tuple[SweepRequest, ...]
    note: str
    """What the page must say of them."""


SMOKE = SweepSet(
    settings=(
        f"{MODEL}.max_steps=100",
        f"{MODEL}.warmup_steps=10",
        f"{MODEL}.log_interval=5",
        f"{MODEL}.valid_interval=50",
    ),
    requests=(
        SweepRequest(
            kind="learning-rate", grid={f"{MODEL}.max_learning_rate": (0.001, 0.01, 0.03, 10.0)}
        ),
        SweepRequest(kind="batch-size", grid={f"{MODEL}.batch_size": (4, 16, 64)}, hold="steps"),
        SweepRequest(kind="ablations", arms=("no RMSNorm", "NoPE", "SiLU"), seeds=3, rates=1),
        SweepRequest(kind="seeds", seeds=3),
    ),
    note="Every trial of the sweeps has 100 steps, and all sides of a comparison have the same "
    "rate: the page shows that everything works, not which setting is the best.",
)

SWEEP_SETS: Mapping[str, SweepSet] = {"smoke": SMOKE}
"""By preset. The report of another preset shows the sweeps that are in the store."""


def run_sweeps(
    sweeps: SweepSet,
    preset: str,
    overrides: Sequence[str] | None,
    config: Mapping[str, Any] | None,
    arguments: str,
) -> dict[str, Reference]:
    """Find or train the trials of each sweep; return the results by kind and corpus."""
    found = {}
    for request in sweeps.requests:
        state: Any = owt_sweep(
            kind=request.kind,
            preset=preset,
            overrides=[*(overrides or ()), *sweeps.settings],
            config=config,
            grid={name: list(values) for name, values in request.grid.items()},
            arms=list(request.arms),
            seeds=request.seeds,
            rates=request.rates,
            hold=request.hold,
            command=command_of(request, sweeps, arguments),
            return_state=True,
        )
        summary: dict[str, Any] = result_of(state)
        reference = Reference.from_json(summary["artifact"])
        found[f"{reference.stage} {request.kind} {summary['corpus']}"] = reference
    return found


def command_of(request: SweepRequest, sweeps: SweepSet, arguments: str) -> str:
    """Return the command that runs the same sweep alone."""
    options = [part for setting in sweeps.settings for part in ("--set", setting)]
    for name, values in request.grid.items():
        options += ["--grid", f"{name}={','.join(map(str, values))}"]
    if request.arms:
        options += ["--arms", ",".join(request.arms)]
    if request.seeds:
        options += ["--seeds", str(request.seeds)]
    if request.rates != SweepRequest(kind="").rates:
        options += ["--rates", str(request.rates)]
    if request.hold != SweepRequest(kind="").hold:
        options += ["--hold", request.hold]
    return f"owt sweep {request.kind} {arguments} {shlex.join(options)}"


def newest_sweeps(store: Store, settings: ReportSettings) -> dict[str, Reference]:
    """Return the newest sweep of each kind and corpus, of those with this preset and model.

    A sweep of another model says nothing of this run, though it began with the same preset. Its
    trainings may differ, be shorter for example; the page says in what.
    """
    newest: dict[tuple[str, str], Record] = {}
    for record in list_records(store):  # the newest first
        facts = record.statistics
        if record.stage != SWEEP_STAGE or facts.get("preset") != settings.preset:
            continue
        is_same_text = facts["corpus"] == settings.corpus
        if has_same_model(facts.get("settings", {}), settings.config, is_same_text=is_same_text):
            newest.setdefault((facts["kind"], facts["corpus"]), record)
    return {
        f"{SWEEP_STAGE} {kind} {corpus}": reference_of(store, record)
        for (kind, corpus), record in newest.items()
    }


def has_same_model(found: Mapping[str, Any], own: Mapping[str, Any], *, is_same_text: bool) -> bool:
    """Tell whether two runs train one model; another text may have another vocabulary.

    Sweeps of earlier versions did not keep their settings: of them only the preset is known.
    """
    if not found:
        return True
    by_text = set() if is_same_text else {"model.vocab_size"}
    sections = ("model", "tokenizer") if is_same_text else ("model",)
    left, right = (flatten({name: side[name] for name in sections}) for side in (found, own))
    return all(plain(left.get(name)) == plain(right[name]) for name in right.keys() - by_text)
