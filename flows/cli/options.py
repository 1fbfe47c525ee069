"""The options that `owt run` and `owt plan` share, and the configuration that they give."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.completion import complete_preset, complete_setting, complete_stage
from flows.config import RawConfig, read_overlay
from flows.presets import PRESETS
from flows.stage_names import stage_names

Preset = Annotated[
    str,
    typer.Option("--preset", "-p", help=f"{', '.join(PRESETS)}.", autocompletion=complete_preset),
]
Corpus = Annotated[
    str,
    typer.Option(
        "--corpus", help="Text of your own: a file, a folder or an address; sizes the run for it."
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="TOML file of sections over the preset.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        help="section.field=value over both; may be repeated. `owt config` lists the fields.",
        autocompletion=complete_setting,
    ),
]
BudgetMinutes = Annotated[
    float | None,
    typer.Option(
        "--budget-minutes", min=0.0, help="Minutes of training; short for train_lm.max_minutes."
    ),
]
STAGE_LIST = ", ".join(stage_names())
Only = Annotated[
    str,
    typer.Option(
        "--only",
        help=f"Perform this stage alone. One of {STAGE_LIST}.",
        autocompletion=complete_stage,
    ),
]
From = Annotated[
    str,
    typer.Option(
        "--from",
        help="Perform this stage and those after it.",
        autocompletion=complete_stage,
    ),
]
Force = Annotated[
    list[str] | None,
    typer.Option(
        "--force",
        help="Build this stage again though it is cached; may be repeated.",
        autocompletion=complete_stage,
    ),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show Prefect's and MLflow's own records, too.")
]


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def with_budget(settings: Sequence[str] | None, budget_minutes: float | None) -> list[str]:
    """Return the settings, with the budget as one of them."""
    budget = [] if budget_minutes is None else [f"train_lm.max_minutes={budget_minutes:g}"]
    return [*(settings or ()), *budget]


def overlay_of(config: Path | None) -> RawConfig | None:
    """Read the config file, if one was given."""
    return read_overlay(config) if config else None


def typed(
    command: str,
    preset: str,
    config: Path | None = None,
    settings: Sequence[str] | None = None,
    corpus: str = "",
) -> str:
    """Return a command with the user's own preset, text, file and settings, as it can be pasted."""
    words = [*program(), *command.split(), "--preset", preset]
    words += ["--corpus", corpus] if corpus else []
    words += ["--config", str(config)] if config else []
    for setting in settings or ():
        words += ["--set", setting]
    return shlex.join(words)


def program() -> list[str]:
    """Return the words by which the user started this program."""
    name = Path(sys.argv[0])
    if name.name == "__main__.py":
        return ["python", "-m", "flows"]
    found = shutil.which(name.name)
    return [name.name] if found and Path(found).samefile(name) else [str(name)]
