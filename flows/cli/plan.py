"""`owt plan`: what `owt run` would do with the same arguments."""

import dataclasses
import json

import rich
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Column, Table

from flows.cli.options import ConfigFile, Force, From, Only, Preset, Settings, overlay_of
from flows.config import resolve_config
from flows.presets import find_preset
from flows.selection import select_stages
from flows.settings import data_root, prepare_environment
from tasks.progress import format_bytes

PREDICTED = ("seconds", "memory", "disk", "FLOPs")
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
    selection = select_stages(only=only, start_from=start_from, force=force or ())
    root = data_root()
    prepare_environment(root)

    from artifacts.store import open_store
    from flows.plan import plan_stages

    rich.print_json(json.dumps(dataclasses.asdict(resolved)))
    store = open_store(resolved.run.store or str(root / "artifacts"))
    table = Table(
        Column("stage", no_wrap=True),
        Column("", no_wrap=True),
        *(Column(name, justify="right", no_wrap=True) for name in PREDICTED),
        "artifact, or why there is none",
        title=f"Store: {escape(store.url)}",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    for row in plan_stages(resolved, store, root):
        if row.stage not in selection.wanted:
            continue
        status, reason = row.status, row.reason
        if row.stage in selection.force:
            status, reason = "MISS", "forced"
        elif row.stage in selection.required and status != "HIT":
            reason = f"this run will stop here: {reason}"
        found = row.prediction
        table.add_row(
            f"{row.stage} {row.label}".strip(),
            f"[{COLORS[status]}]{status}[/]",
            f"{found.seconds:.0f}" if found.seconds is not None else "",
            format_bytes(found.memory_bytes) if found.memory_bytes else "",
            format_bytes(found.disk_bytes) if found.disk_bytes else "",
            f"{found.flops:.3g}" if found.flops else "",
            escape(row.place if status == "HIT" else reason),
        )
    rich.print(table)
