"""`owt run`: the whole pipeline, or one stage of it, in this process."""

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import rich
import typer
from rich.markup import escape

from artifacts.identity import Reference
from artifacts.record import JsonObject
from flows.background import begin_in_background
from flows.cli.generate import generate
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
    Verbose,
    overlay_of,
    program,
    typed,
    with_budget,
)
from flows.cli.reading.own_text import own_text
from flows.cli.serving.performing import perform_flow
from flows.cli.serving.shared_server import refuse_silent_server, using_server
from flows.cli.serving.stopping import INTERRUPTED, command_line, stopping_on_signals
from flows.cli.tables import plain_table, print_table
from flows.cli.verify_entry import entry_command
from flows.config import resolve_config
from flows.logins import refuse_wrong_logins
from flows.presets import find_preset
from flows.settings import (
    data_root,
    prefect_api_url,
    prepare_environment,
    set_prefect_api_url,
)
from tasks.corpus.source import check_is_there
from tasks.watching.events import Preparing, emit
from tasks.watching.stopping import RunStopped, StopSwitch


def run(
    preset: Preset = "smoke",
    corpus: Corpus = "",
    config: ConfigFile = None,
    settings: Settings = None,
    budget_minutes: BudgetMinutes = None,
    only: Only = "",
    start_from: From = "",
    force: Force = None,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Run the pipeline; what is cached and sound is not built again."""
    overlay, settings = overlay_of(config), with_budget(settings, budget_minutes)
    # Bad input is refused here, before anything is started.
    overrides = own_text(corpus, preset, overlay, settings)
    resolved = resolve_config(find_preset(preset), overlay, overrides)
    root = data_root()
    prepare_environment(root)
    check_is_there(resolved.corpus)
    if only or start_from or force:
        from flows.selection import select_stages  # takes seconds, as it loads the stages

        select_stages(only=only, start_from=start_from, force=force or ())
    parameters = {
        "preset": preset,
        "overrides": overrides,
        "config": overlay,
        "only": only,
        "start_from": start_from,
        "force": force or [],
    }
    from flows.view.showing import showing_run, write_line

    command = typed("run", preset, config, settings, corpus)
    with ExitStack() as until_shown:  # the server takes a second to end, and nobody waits for it
        try:
            with showing_run(root, verbose=verbose) as log, stopping_on_signals(root) as switch:
                loading = begin_in_background(root)
                until_shown.enter_context(prefect_server(root))
                emit(Preparing(what="loading Prefect and MLflow"))
                loading.join()
                summary = _perform(parameters, switch, verbose=verbose, command=command)
        except RunStopped as stop:
            write_line(f"stopped {stop}".strip() + f"; resume with: {command_line()}")
            sys.exit(INTERRUPTED)
        if as_json:
            typer.echo(json.dumps(summary, indent=2, ensure_ascii=False))
            return
        show_summary(summary)
        rich.print(f"[dim]log: {escape(str(log))}[/dim]")


def _perform(
    parameters: dict[str, Any], switch: StopSwitch, *, verbose: bool, command: str
) -> JsonObject:
    from flows.pipeline import owt_pipeline

    with complete_hints(command):
        return perform_flow(owt_pipeline, parameters, switch, verbose=verbose)


@contextmanager
def complete_hints(command: str) -> Iterator[None]:
    """Name the command that builds what this run was asked not to build."""
    from tasks.execution.building import NotBuiltError

    try:
        yield
    except NotBuiltError as error:
        raise ValueError(f"{error}: {command}") from error


@contextmanager
def prefect_server(root: Path) -> Iterator[None]:
    """Use the user's Prefect server, else one that all commands over the data root share.

    Prefect's own temporary server gets the terminal's Ctrl-C too: it dies before the run can
    save and say how it ended, and the run waits for it in vain.
    """
    refuse_wrong_logins()
    if url := prefect_api_url():
        emit(Preparing(what=f"looking for Prefect's server at {url}"))
        refuse_silent_server(url)
        yield
        return
    with using_server(root) as url:
        set_prefect_api_url(url)
        yield


def show_summary(summary: JsonObject) -> None:
    """Print what the run gave: what is worth reading, the stages, and where to look next."""
    stages = summary["stages"]
    for shown in (stage["shown"] for stage in stages):
        if shown["text"]:
            rich.print(f"\n[bold]{escape(shown['text_title'])}[/bold]\n")
            rich.print(f"{escape(shown['text'].strip())}\n")
            rich.print(f"[dim]{escape(shown['text_note'])}[/dim]\n")
    table = plain_table(f"Store: {summary['store']}", ("stage", "", "artifact"), ("seconds",))
    for stage in stages:
        name = f"{stage['stage']} {stage['label']}".strip()
        ending = "[cyan]cached[/cyan]" if stage["cached"] else "[green]built[/green]"
        place = Reference.from_json(stage).place
        table.add_row(name, ending, place, f"{stage['seconds']:.2f}")
    print_table(table)
    seconds = sum(stage["seconds"] for stage in stages)
    built = sum(not stage["cached"] for stage in stages)
    rich.print(f"{built} of {len(stages)} stages built, {seconds:.1f} s in stages")
    for line in (stage["shown"]["line"] for stage in stages):
        if line:
            rich.print(escape(line))
    from tasks.text_model import MODEL_STAGE

    name = shlex.join(program())
    if any(stage["stage"] == MODEL_STAGE for stage in stages):
        prompt = next((words for stage in stages if (words := stage["shown"]["prompt"])), "")
        words = [*program(), generate.__name__, *(["--prompt", prompt] if prompt else [])]
        rich.print(f"next: [bold]{escape(shlex.join(words))}[/bold] lets the model write more")
    if entry := summary.get("entry"):
        command = shlex.join([*program(), *entry_command(entry)])
        rich.print(f"next: [bold]{escape(command)}[/bold] computes its loss again")
    rich.print(f"next: [bold]{name} ui[/bold] shows the curves, and compares runs")
