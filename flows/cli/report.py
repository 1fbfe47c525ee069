"""`owt report`: one page about a run and its sweeps."""

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import rich
import typer
from rich.markup import escape

from flows.cli.options import ConfigFile, Preset, Settings, Verbose, overlay_of
from flows.cli.run import prefect_server
from flows.cli.serving.performing import perform_flow
from flows.cli.serving.stopping import INTERRUPTED, command_line, stopping_on_signals
from flows.config import resolve_config
from flows.presets import find_preset
from flows.settings import data_root, prepare_environment
from tasks.watching.events import Preparing, emit
from tasks.watching.stopping import RunStopped, StopSwitch

Course = Annotated[bool, typer.Option("--course", help="Order it by the problems of the course.")]
NoRun = Annotated[
    bool, typer.Option("--no-run", help="Build nothing; the page says what is missing.")
]
NoSweeps = Annotated[
    bool, typer.Option("--no-sweeps", help="Train no trial; show the sweeps that are there.")
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Copy report.html to this file, too.")
]


def report(
    preset: Preset = "smoke",
    config: ConfigFile = None,
    settings: Settings = None,
    course: Course = False,
    no_run: NoRun = False,
    no_sweeps: NoSweeps = False,
    output: Output = None,
    verbose: Verbose = False,
) -> None:
    """Write one self-contained page about a run: data, curves, sweeps, samples, costs."""
    overlay = overlay_of(config)
    # Bad input is refused here, before anything is started.
    resolve_config(find_preset(preset), overlay, settings or ())
    root = data_root()
    prepare_environment(root)
    parameters = {
        "preset": preset,
        "overrides": settings or [],
        "config": overlay,
        "order": "course" if course else "study",
        "make_missing": not no_run,
        "with_sweeps": not no_sweeps,
    }
    from flows.view.showing import showing_run, write_line

    try:
        with showing_run(root, verbose=verbose) as log, stopping_on_signals(root) as switch:
            summary = _perform(root, parameters, switch, verbose=verbose)
    except RunStopped as stop:
        write_line(f"stopped {stop}".strip() + f"; resume with: {command_line()}")
        sys.exit(INTERRUPTED)
    if output is not None:
        shutil.copyfile(summary["page"], output)
    rich.print(escape(summary["stages"][-1]["shown"]["line"]))
    rich.print(f"{len(summary['made_from'])} artifacts: {escape(str(output or summary['page']))}")
    rich.print(f"[dim]log: {escape(str(log))}[/dim]")


def _perform(
    root: Path, parameters: dict[str, Any], switch: StopSwitch, *, verbose: bool
) -> dict[str, Any]:
    with prefect_server(root):
        emit(Preparing(what="loading Prefect"))
        from flows.reporting.report import owt_report

        return perform_flow(owt_report, parameters, switch, verbose=verbose)
