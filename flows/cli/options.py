"""The options that `owt run` and `owt plan` share, and the configuration that they give."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from flows.config import RawConfig, read_overlay

Preset = Annotated[
    str, typer.Option("--preset", "-p", help="smoke, tinystories-cpu, tinystories, openwebtext.")
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="TOML file of sections over the preset.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", help="section.field=value over both; may be repeated."),
]
Only = Annotated[str, typer.Option("--only", help="Perform this stage alone.")]
From = Annotated[str, typer.Option("--from", help="Perform this stage and what follows.")]
Force = Annotated[
    list[str] | None, typer.Option("--force", help="Build this stage again; may be repeated.")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show Prefect's and MLflow's own records, too.")
]


def overlay_of(config: Path | None) -> RawConfig | None:
    """Read the config file, if one was given."""
    return read_overlay(config) if config else None


def typed(
    command: str, preset: str, config: Path | None = None, settings: Sequence[str] | None = None
) -> str:
    """Return a command with the user's own preset, file and settings, as it can be pasted."""
    words = [*program(), *command.split(), "--preset", preset]
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
