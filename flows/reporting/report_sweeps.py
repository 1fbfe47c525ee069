"""The sweeps that a report runs by itself: few, small, and named as such on the page."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from artifacts.identity import Reference
from flows.stages import MODEL
from flows.sweeps.flow import owt_sweep
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
            kind="learning-rate", grid={f"{MODEL}.max_learning_rate": (0.001, 0.01, 0.1, 10.0)}
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
