"""The command ``owt``: its sub-commands, and how errors end it."""

import atexit
import errno
import gc
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import click
import typer

from flows.cli import (
    account,
    artifacts,
    config,
    deploy,
    doctor,
    generate,
    plan,
    report,
    run,
    sweep,
    tokenizer,
    ui,
    verify_entry,
)
from flows.cli.serving.stopping import INTERRUPTED
from flows.settings import code_version, data_root

ROOM = "free space"
"""Is in what the store says of a full disk."""
CHECKOUT = Path(__file__).parents[2]

app = typer.Typer(
    name="owt",
    epilog="--debug, anywhere on the line, shows the traceback of an error.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(wanted: bool) -> None:
    """Print version and commit, and end the program."""
    if wanted:
        from importlib import metadata  # takes a tenth of the time of the help page

        typer.echo(
            f"owt-pipeline {metadata.version('owt-pipeline')} {code_version(CHECKOUT)}".strip()
        )
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """From raw text to a trained language model, as one cached DAG."""
    del version  # its callback has ended the program


app.command(
    epilog="""Examples:

owt run --preset smoke

owt run --preset tinystories-cpu --corpus my/folder

owt run --preset smoke --set train_lm.max_steps=400 --force train_lm"""
)(run.run)
app.command()(plan.plan)
app.command()(report.report)
app.command()(sweep.sweep)
app.command()(account.account)
app.command()(generate.generate)
app.add_typer(config.app, name="config")
app.add_typer(tokenizer.app, name="tokenizer")
app.add_typer(artifacts.app, name="artifacts")
app.command()(verify_entry.verify_entry)
app.command()(ui.ui)
app.command()(doctor.doctor)
app.command()(deploy.deploy)

USER_MISTAKES = (ValueError, TypeError, FileNotFoundError, IsADirectoryError, PermissionError)
"""Errors that name what the user gave; everything else is a failure."""


def main() -> None:
    """Run the command line and exit: 0 done, 2 the user's mistake, 1 a failure, 130 interrupted."""
    # Python's last search for garbage takes a second once all libraries are loaded, and frees what
    # ends with the process anyway.
    atexit.register(gc.freeze)
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        code = app(arguments, standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        _stop(INTERRUPTED)
    except BaseException as error:
        if type(error).__name__ == "TerminationSignal":  # Prefect's, which is not imported here
            _stop(143)
        if debug or not isinstance(error, Exception):
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.exit(0)  # the help is printed
        print(f"owt: error: {one_line(error)}", file=sys.stderr)
        is_mistake = isinstance(error, USER_MISTAKES) or is_usage_error(error)
        sys.exit(2 if is_mistake else 1)
    if code == INTERRUPTED:  # what typer makes of a KeyboardInterrupt
        _stop(INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _stop(code: int) -> NoReturn:
    print("owt: interrupted", file=sys.stderr)
    sys.exit(code)


def is_usage_error(error: Exception) -> bool:
    """Tell an error in the words of the command line, whoever's copy of click raised it."""
    return getattr(error, "exit_code", None) == click.UsageError.exit_code


def one_line(error: BaseException) -> str:
    """Return an error in one line; an error without a message gives its type."""
    text = error.format_message() if hasattr(error, "format_message") else str(error)
    message = " ".join(text.split())
    if getattr(error, "errno", None) == errno.ENOSPC and ROOM not in message:
        message += f"; {ROOM} on the disk of {data_root()}, and run again: what is finished is kept"
    return message or type(error).__name__
