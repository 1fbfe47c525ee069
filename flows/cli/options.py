"""The options that `owt run` and `owt plan` share, and the configuration that they give."""

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


def overlay_of(config: Path | None) -> RawConfig | None:
    """Read the config file, if one was given."""
    return read_overlay(config) if config else None
