"""`owt plan`: what `owt run` would do with the same arguments."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import rich
import typer
from rich.markup import escape

from flows.cli.options import (
    AsJson,
    BudgetMinutes,
    ConfigFile,
    Corpus,
    Force,
    From,
    Only,
    Preset,
    Settings,
    overlay_of,
    with_budget,
)
from flows.cli.reading.own_text import own_text
from flows.cli.tables import (
    WIDE,
    format_seconds,
    is_narrow,
    let_wrap,
    plain_table,
    print_table,
)
from flows.config import PipelineConfig, RunConfig, resolve_config
from flows.presets import find_preset
from flows.settings import data_root, prepare_environment, store_url
from tasks.watching.progress import format_bytes

if TYPE_CHECKING:
    from flows.plan import PlannedStage
    from flows.selection import Selection

COSTS = ("time", "memory", "disk", "FLOPs")
CLUSTER_PAYS_FROM_S = 300.0
"""Work on one machine below which a cluster is not worth its start: judged, not measured, as no
cluster of several machines was ever used (docs/decisions/0011-dask.md)."""
COLORS = {"HIT": "cyan", "MISS": "green", "STALE": "red", "LOCKED": "yellow", "UNKNOWN": "yellow"}


def plan(
    preset: Preset = "smoke",
    corpus: Corpus = "",
    config: ConfigFile = None,
    settings: Settings = None,
    budget_minutes: BudgetMinutes = None,
    only: Only = "",
    start_from: From = "",
    force: Force = None,
    as_json: AsJson = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Add the config, and predicted and measured.")
    ] = False,
) -> None:
    """Print which stages are cached, which will be built and why, and what that will take."""
    overlay, settings = overlay_of(config), with_budget(settings, budget_minutes)
    overrides = own_text(corpus, preset, overlay, settings)
    resolved = resolve_config(find_preset(preset), overlay, overrides)
    root = data_root()
    prepare_environment(root)

    from artifacts.store import open_store
    from flows.plan import in_selection, plan_stages
    from flows.selection import select_stages

    selection = select_stages(only=only, start_from=start_from, force=force or ())
    store = open_store(store_url(resolved.run.store))
    rows = in_selection(plan_stages(resolved, store, root), selection)
    if as_json:
        json.dump(to_json(rows, store.url, resolved), sys.stdout, indent=1, ensure_ascii=False)
        print()
        return
    _show(rows, store.url, [*_remarks(rows, selection), *cluster_remarks(rows, resolved.run)])
    if verbose:
        _show_measured(rows)
        rich.print_json(json.dumps(dataclasses.asdict(resolved)))


def to_json(rows: Sequence[PlannedStage], store: str, config: PipelineConfig) -> dict[str, Any]:
    """Return a plan as plain data, for other programs."""
    return {
        "store": store,
        "stages": [
            {
                "stage": row.stage,
                "label": row.label,
                "status": row.status,
                "reason": row.reason,
                "fingerprint": row.identity.fingerprint if row.identity else None,
                "differences": [dataclasses.asdict(found) for found in row.differences],
                "predicted": dataclasses.asdict(row.prediction),
                "measured": row.measured,
                "has_drifted": row.has_drifted,
            }
            for row in rows
        ],
        "config": dataclasses.asdict(config),
    }


def _show(rows: Sequence[PlannedStage], store: str, remarks: Sequence[str]) -> None:
    narrow = is_narrow()
    columns = ("time",) if narrow else ("artifact", *COSTS)
    table = plain_table(f"Store: {store}", ("stage", ""), (*columns, "why"))
    let_wrap(table.columns[-1])
    for row in rows:
        reason = "" if row.status == "HIT" else escape(row.reason)
        status = f"[{COLORS[row.status]}]{row.status}[/]"
        costs = _costs(row)
        shown = costs[:1] if narrow else (row.fingerprint, *costs)
        table.add_row(row.name, status, *shown, reason)
    print_table(table)
    if narrow:
        rich.print(f"[dim]fingerprints, memory, disk, FLOPs: in {WIDE} columns, or with --json[/]")
    rich.print(_total(rows))
    for line in remarks:
        rich.print(f"[yellow]{escape(line)}[/]")


def _total(rows: Sequence[PlannedStage]) -> str:
    """Say in one line how much there is to do."""
    to_build = [row for row in rows if row.status != "HIT"]
    if not to_build:
        return "everything is cached: owt run builds nothing"
    seconds = [row.prediction.seconds for row in to_build]
    known = [value for value in seconds if value is not None]
    text = f"{len(to_build)} of {len(rows)} stages to build"
    if known:
        rest = "" if len(known) == len(seconds) else f" for {len(known)} of them"
        text += f", about {format_seconds(sum(known))}{rest}"
    disk = sum(row.prediction.disk_bytes or 0 for row in to_build)
    return text + (f", {format_bytes(disk)} of disk" if disk else "")


def _remarks(rows: Sequence[PlannedStage], selection: Selection) -> list[str]:
    """Say what a person should know beyond the table."""
    remarks = []
    if selection.force:
        num_kept = sum(row.status == "HIT" for row in rows)
        remarks.append(
            f"--force builds {', '.join(selection.force)} again and nothing downstream: what is "
            f"rebuilt keeps its fingerprint, so the {num_kept} cached ones stay"
        )
    if drifted := [row.name for row in rows if row.has_drifted]:
        remarks.append(
            f"{', '.join(drifted)}: made by code that has changed since, and kept. Where the "
            "change alters bytes, raise the stage's VERSION; --force STAGE builds it again"
        )
    to_build = [row for row in rows if row.status != "HIT"]
    remarks += [
        f"{row.name}: {row.unfinished}; the time above is that of the whole"
        for row in to_build
        if row.unfinished
    ]
    for obstacle in dict.fromkeys(row.obstacle for row in to_build if row.obstacle):
        names = ", ".join(row.name for row in to_build if row.obstacle == obstacle)
        remarks.append(f"{names}: not on this machine: {obstacle}")
    return remarks


def cluster_remarks(rows: Sequence[PlannedStage], run: RunConfig) -> list[str]:
    """Say whether a cluster that was asked for is worth it, as far as earlier artifacts tell."""
    mapped = [row for row in rows if row.is_mapped and row.status != "HIT"]
    if run.cluster is None or not mapped:
        return []
    known = [row.prediction.seconds for row in mapped if row.prediction.seconds is not None]
    work = " and ".join(dict.fromkeys(row.stage for row in mapped))
    if len(known) < len(mapped):
        remark = (
            f"run.runner=dask: for {work} OpenWebText (12 GB) takes 35 s on two cores of one "
            "machine; for less than some ten times that a cluster only costs"
        )
        return [remark]
    if sum(known) < CLUSTER_PAYS_FROM_S:
        remark = (
            f"run.runner=dask: {work} take about {format_seconds(sum(known))} without more "
            "machines, so a cluster only costs; run.runner=threads on one machine is the better "
            "choice"
        )
        return [remark]
    return []


def _costs(row: PlannedStage) -> tuple[str, str, str, str]:
    found = row.prediction
    return (
        format_seconds(found.seconds) if found.seconds is not None else "",
        format_bytes(found.memory_bytes) if found.memory_bytes else "",
        format_bytes(found.disk_bytes) if found.disk_bytes else "",
        f"{found.flops:.1e}" if found.flops else "",
    )


def _show_measured(rows: Sequence[PlannedStage]) -> None:
    """Print what was expected before the cached artifacts were built, beside what they took."""
    columns = ("time predicted", "measured", "memory predicted", "measured", "disk predicted")
    table = plain_table("Predicted and measured", ("stage",), (*columns, "measured"))
    for row in rows:
        if row.record is None:
            continue
        cells = []
        for name, show in (
            ("seconds", format_seconds),
            ("memory_bytes", format_bytes),
            ("disk_bytes", format_bytes),
        ):
            for values in (row.record.predicted, row.measured):
                value = values.get(name)
                cells.append(show(value) if isinstance(value, int | float) else "")
        table.add_row(row.name, *cells)
    print_table(table)
