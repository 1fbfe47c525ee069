"""The command ``owt``: its sub-commands, and how errors end it."""

import sys

import click
import typer

from flows.cli import artifacts, generate, plan, run, tokenizer, ui

app = typer.Typer(
    name="owt",
    help="From raw text to a trained language model, as one cached DAG.",
    epilog="--debug, anywhere on the line, shows the traceback of an error.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("plan")(plan.plan)
app.command("generate")(generate.generate)
app.add_typer(tokenizer.app, name="tokenizer")
app.add_typer(artifacts.app, name="artifacts")
app.command("ui")(ui.ui)

USER_MISTAKES = (ValueError, TypeError, FileNotFoundError, IsADirectoryError, PermissionError)
"""Errors that name what the user gave; everything else is a failure."""


def main() -> None:
    """Run the command line and exit: 0 done, 2 the user's mistake, 1 a failure, 130 interrupted."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        code = app(arguments, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        print("owt: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if debug:
            raise
        print(f"owt: error: {one_line(error)}", file=sys.stderr)
        sys.exit(2 if isinstance(error, USER_MISTAKES) else 1)
    sys.exit(code if isinstance(code, int) else 0)


def one_line(error: BaseException) -> str:
    """Say an error in one line; an error without words says its kind."""
    message = " ".join(str(error).split())
    return message or type(error).__name__
