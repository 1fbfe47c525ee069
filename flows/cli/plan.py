"""`owt plan`: what `owt run` would do with the same arguments."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import rich
from rich.markup import escape

from flows.cli.options import ConfigFile, Force, From, Only, Preset, Settings, overlay_of
from flows.cli.tables import plain_table, print_table
from flows.config import resolve_config
from flows.presets import find_preset
from flows.settings import data_root, prepare_environment, store_url
from tasks.progress import format_bytes

if TYPE_CHECKING:
    from flows.plan import PlannedStage
    from flows.selection import Selection

COSTS = ("seconds", "memory", "disk", "FLOPs")
COLORS = {"HIT": "cyan", "MISS": "green", "STALE": "red", "LOCKED": "yellow", "UNKNOWN": "yellow"}


def plan(
    preset: Preset = "smoke",
    config: ConfigFile = None,
    settings: Settings = None,
    only: Only = "",
    start_from: From = "",
    force: Force = None,
) -> None:
    """Print the resolved config, and which stages are cached, will be built, and why."""
    resolved = resolve_config(find_preset(preset), overlay_of(config), settings or ())
    root = data_root()
    prepare_environment(root)

    from artifacts.store import open_store
    from flows.plan import plan_stages
    from flows.selection import select_stages

    selection = select_stages(only=only, start_from=start_from, force=force or ())

    rich.print_json(json.dumps(dataclasses.asdict(resolved)))
    store = open_store(store_url(resolved.run.store))
    table = plain_table(f"Store: {store.url}", ("stage", "", "fingerprint"), COSTS)
    reasons = []
    for row in plan_stages(resolved, store, root):
        if row.stage not in selection.wanted:
            continue
        name = f"{row.stage} {row.label}".strip()
        status, reason = _outcome(row, selection)
        if status != "HIT":
            reasons.append(f"{name}: {reason}")
        table.add_row(name, f"[{COLORS[status]}]{status}[/]", row.fingerprint, *_costs(row))
    print_table(table)
    for line in reasons:
        rich.print(escape(line))


def _outcome(row: PlannedStage, selection: Selection) -> tuple[str, str]:
    """Return status and reason of a planned stage in a run with this selection."""
    if row.stage in selection.force:
        return "MISS", "forced"
    if row.stage in selection.required and row.status != "HIT":
        return row.status, f"{row.reason}; this run would stop here"
    return row.status, row.reason


def _costs(row: PlannedStage) -> tuple[str, str, str, str]:
    found = row.prediction
    return (
        f"{found.seconds:.0f}" if found.seconds is not None else "",
        format_bytes(found.memory_bytes) if found.memory_bytes else "",
        format_bytes(found.disk_bytes) if found.disk_bytes else "",
        f"{found.flops:.1e}" if found.flops else "",
    )
