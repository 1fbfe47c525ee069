"""`owt doctor`: is this machine ready for a run, and what helps where it is not."""

import dataclasses
import json

import typer
from rich.console import Console
from rich.markup import escape

from flows.cli.options import AsJson, ConfigFile, Preset, Settings, overlay_of
from flows.config import resolve_config
from flows.presets import find_preset
from flows.settings import data_root, set_quiet_defaults

COLORS = {"ok": "green", "note": "yellow", "broken": "red"}


def doctor(
    preset: Preset = "smoke",
    config: ConfigFile = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Check this machine for a run: each line that is not ok names the way out.

    Exit code 1 where something is broken; a note is about what could be better.
    """
    set_quiet_defaults()
    from flows.explaining.doctor import Patient, examine

    resolved = resolve_config(find_preset(preset), overlay_of(config), settings or ())
    findings, console = [], Console(soft_wrap=True)
    for finding in examine(Patient(config=resolved, root=data_root())):
        findings.append(finding)
        if not as_json:
            color = COLORS[finding.status]
            label = f"[{color}]{finding.status:<7}[/{color}]"
            console.print(f"{label}{finding.name:<9} {escape(finding.found)}")
            if finding.way_out:
                console.print(f"{'':16} -> {escape(finding.way_out)}")
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    if any(finding.status == "broken" for finding in findings):
        raise typer.Exit(1)
