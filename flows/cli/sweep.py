"""`owt sweep`: many trainings that differ in one thing, and what they say together."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import rich
import typer
from rich.markup import escape

from flows.cli.options import ConfigFile, Preset, Settings, Verbose, overlay_of
from flows.cli.run import prefect_server
from flows.cli.serving.performing import perform_flow
from flows.cli.serving.stopping import INTERRUPTED, command_line, stopping_on_signals
from flows.cli.tables import plain_table, print_table
from flows.config import RawConfig, parse_setting, resolve_config
from flows.presets import find_preset
from flows.settings import data_root, prepare_environment, store_url
from tasks.watching.events import Preparing, emit
from tasks.watching.stopping import RunStopped, StopSwitch

if TYPE_CHECKING:
    from flows.sweeps.outlook import SweepOutlook

Kind = Annotated[
    str,
    typer.Argument(
        help="learning-rate, range-test, batch-size, weight-decay, schedule, optimizer, "
        "ablations, seeds, grid."
    ),
]
Grid = Annotated[
    list[str] | None,
    typer.Option("--grid", help="section.field=value,value; may be repeated with the sweep grid."),
]
Arms = Annotated[str, typer.Option("--arms", help="Variants to compare, as in NoPE,SiLU.")]
Seeds = Annotated[int, typer.Option("--seeds", min=0, help="Seeds of each arm; 0: as usual.")]
Rates = Annotated[
    int, typer.Option("--rates", min=1, max=3, help="Rates at which each side is tuned.")
]
Hold = Annotated[str, typer.Option("--hold", help="What batch sizes hold equal: tokens or steps.")]
Budget = Annotated[
    float, typer.Option("--budget-minutes", min=0, help="No trial is begun after this; 0: none.")
]
Parallel = Annotated[int, typer.Option("--parallel", min=1, help="Trials trained at a time.")]
Kept = Annotated[str, typer.Option("--results", help="Folder of finished trials without weights.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="List the trials and train none.")]


def sweep(
    kind: Kind,
    preset: Preset = "smoke",
    config: ConfigFile = None,
    settings: Settings = None,
    grid: Grid = None,
    arms: Arms = "",
    seeds: Seeds = 0,
    rates: Rates = 3,
    hold: Hold = "tokens",
    budget_minutes: Budget = 0.0,
    parallel: Parallel = 1,
    results: Kept = "",
    dry_run: DryRun = False,
    verbose: Verbose = False,
) -> None:
    """Train the trials of a sweep, each once, and compare them."""
    overlay = overlay_of(config)
    wanted: dict[str, Any] = {
        "kind": kind,
        "preset": preset,
        "overrides": settings or [],
        "config": overlay,
        "grid": parse_grid(grid or []),
        "arms": [name.strip() for name in arms.split(",") if name.strip()],
        "seeds": seeds,
        "rates": rates,
        "hold": hold,
    }
    root = data_root()
    prepare_environment(root)
    _show_outlook(_outlook(wanted, results), parallel)
    if dry_run:
        return
    more = {
        "budget_minutes": budget_minutes,
        "parallel": parallel,
        "kept": results,
        "command": command_line(),
    }
    from flows.view.showing import showing_run, write_line

    try:
        with showing_run(root, verbose=verbose) as log, stopping_on_signals(root) as switch:
            summary = _perform(root, {**wanted, **more}, switch, verbose=verbose)
    except RunStopped as stop:
        write_line(f"stopped {stop}".strip() + f"; resume with: {command_line()}")
        sys.exit(INTERRUPTED)
    show_sweep(summary)
    rich.print(f"[dim]log: {escape(str(log))}[/dim]")


def _perform(
    root: Path, parameters: dict[str, Any], switch: StopSwitch, *, verbose: bool
) -> dict[str, Any]:
    with prefect_server(root):
        emit(Preparing(what="loading Prefect"))
        from flows.sweeps.flow import sweep_flow

        flow = sweep_flow(parameters["parallel"])
        return perform_flow(flow, parameters, switch, verbose=verbose)


def parse_grid(items: list[str]) -> dict[str, list[Any]]:
    """Turn `section.field=value,value` into values by `section.field`.

    >>> parse_grid(["train.batch_size=8,16"])
    {'train.batch_size': [8, 16]}
    """
    grid: dict[str, list[Any]] = {}
    for item in items:
        key, _, values = item.partition("=")
        grid[key.strip()] = [_value(f"{key}={value.strip()}") for value in values.split(",")]
    return grid


def _value(setting: str) -> object:
    value: Any = parse_setting(setting)
    while isinstance(value, dict):
        (value,) = value.values()
    return value


def _outlook(wanted: RawConfig, results: str) -> SweepOutlook:
    """Refuse bad input, and look up what a sweep would do."""
    base = resolve_config(find_preset(wanted["preset"]), wanted["config"], wanted["overrides"])
    root = data_root()
    from flows.sweeps.design import Wishes
    from flows.sweeps.designs import find_design
    from flows.sweeps.effects import refuse_arms_without_effect
    from flows.sweeps.outlook import look_ahead, open_trials

    wishes = Wishes(
        num_seeds=wanted["seeds"],
        grid=wanted["grid"],
        arms=wanted["arms"],
        num_rates=wanted["rates"],
        hold=wanted["hold"],
    )
    design = find_design(wanted["kind"], base, wishes)
    refuse_arms_without_effect(design, base)
    return look_ahead(design, base, open_trials(store_url(base.run.store), root, results))


def _show_outlook(outlook: SweepOutlook, parallel: int) -> None:
    table = plain_table("Trials", ("trial", ""), ("parameters", "seconds"))
    for trial in outlook.trials:
        seconds = f"{trial.seconds:.0f}" if trial.seconds is not None else ""
        color = "cyan" if trial.status == "HIT" else "green"
        status = f"[{color}]{trial.status}[/]"
        table.add_row(escape(trial.label), status, f"{trial.num_parameters:,}", seconds)
    print_table(table)
    minutes = outlook.minutes
    time = f"about {minutes / parallel:.1f} minutes" if minutes is not None else "minutes unknown"
    known = "" if minutes is not None else "; they are known once one such model was trained here"
    rich.print(f"{outlook.num_missing} of {len(outlook.trials)} to train, {time}{known}")
    if outlook.power:
        rich.print(escape(outlook.power))


def show_sweep(summary: dict[str, Any]) -> None:
    """Print the trials with how each ended, the comparisons, and what a caption must say."""
    columns = ("loss", "error", "bits/byte", "tokens", "seconds")
    table = plain_table(f"{summary['kind']}: {summary['held_equal']}", ("trial", ""), columns)
    for trial in summary["trials"]:
        table.add_row(
            escape(trial["label"]),
            _ending(trial),
            _number(trial["valid_loss"], ".4f"),
            _number(trial["valid_loss_error"], ".4f"),
            _number(trial["bits_per_byte"], ".4f"),
            f"{trial['tokens']:,}",
            f"{trial['seconds']:.0f}",
        )
    print_table(table)
    for item in summary["comparisons"]:
        low, high = item["interval"]
        rich.print(
            f"{escape(item['arm'])} against {escape(item['against'])}: "
            f"{item['difference']:+.4f} nats, {low:+.4f} to {high:+.4f} "
            f"({item['num_pairs']} pairs): {escape(item['verdict'])}"
        )
    if floor := summary["noise_floor"]:
        rich.print(
            f"noise floor of {floor['num_seeds']} seeds: {floor['mean']:.4f} ± "
            f"{floor['standard_deviation']:.4f} nats; the smallest difference that as many pairs "
            f"show is {floor['smallest_difference']:.4f}"
        )
    for note in summary["notes"]:
        rich.print(escape(note))
    rich.print(f"[dim]{escape(summary['artifact']['uri'])}[/dim]")


def _ending(trial: dict[str, Any]) -> str:
    colors = {"finished": "green", "diverged": "red", "stuck": "yellow", "failed": "red"}
    text = trial["status"]
    if text == "diverged":
        text += f" at step {trial['diverged_at_step']}, rate {trial['diverged_at_rate']:.3g}"
    return f"[{colors[trial['status']]}]{escape(text)}[/]"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
