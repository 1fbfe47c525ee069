"""`owt config`: every field that `--set` takes, what it means, and what it changes."""

import dataclasses
import json
from collections.abc import Sequence
from itertools import groupby
from typing import Annotated, Any

import rich
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from flows.cli.completion import complete_field
from flows.cli.options import AsJson, Preset, program
from flows.cli.tables import PIPE_WIDTH
from flows.config import FOLLOWING
from flows.explaining.fields import Field, all_fields, find_fields, value_of
from flows.presets import PRESETS, find_preset
from flows.settings import set_quiet_defaults

app = typer.Typer(help="List and explain the fields of the configuration.")


@app.callback(invoke_without_command=True)
def config(context: typer.Context, preset: Preset = "smoke", as_json: AsJson = False) -> None:
    """List every field: its type, the value that the preset has, and its meaning."""
    set_quiet_defaults()
    if context.invoked_subcommand:
        return
    fields = all_fields()
    if as_json:
        typer.echo(json.dumps(list(map(_facts, fields)), indent=2))
        return
    _print_fields(fields, preset)


@app.command("explain")
def explain(
    name: Annotated[
        str,
        typer.Argument(help="section.field, a field, or a section.", autocompletion=complete_field),
    ],
    preset: Preset = "smoke",
    as_json: AsJson = False,
) -> None:
    """Say all that is known of a field: meaning, unit, presets, and what a change rebuilds."""
    found = find_fields(name)
    if as_json:
        typer.echo(json.dumps(list(map(_facts, found)), indent=2))
    elif len(found) > 1 and name == found[0].section:
        _print_fields(found, preset)
    else:
        for field in found:
            _print_field(field)


def _print_fields(fields: list[Field], preset: str) -> None:
    from flows.explaining.influence import influence_of

    chosen = find_preset(preset)
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    for section, group in groupby(fields, key=lambda field: field.section):
        members = list(group)
        stages = {field.key: influence_of(field).fingerprinted for field in members}
        table = Table.grid(Column(no_wrap=True), Column(), padding=(0, 2, 0, 0))
        for field in members:
            notes = [field.type, field.unit]
            if len(set(stages.values())) > 1:
                notes.append(_fingerprints(stages[field.key]))
            told = escape(f"({'; '.join(filter(None, notes))})")
            value = _shown(value_of(chosen, field))
            table.add_row(f"  {field.name} = {value}", f"{escape(field.summary)} [dim]{told}[/dim]")
        same = _fingerprints(stages[members[0].key]) if len(set(stages.values())) == 1 else ""
        console.print(f"[bold]{section}[/bold] [dim]{same}[/dim]")
        console.print(table)
    console.print(f"[dim]{' '.join(program())} config explain FIELD tells all of one[/dim]")


def _fingerprints(stages: Sequence[str]) -> str:
    return f"fingerprint of {', '.join(stages)}" if stages else "not fingerprinted"


def _print_field(field: Field) -> None:
    facts = _facts(field)
    presets = ", ".join(f"{name}: {_shown(value)}" for name, value in facts["presets"].items())
    lines = [
        f"[bold]{field.key}[/bold]",
        escape(field.meaning),
        f"type         {escape(field.type)}{f', in {field.unit}' if field.unit else ''}",
        f"default      {_shown(field.default)}",
        f"in presets   {presets or 'the default'}",
    ]
    lines += [f"follows      {escape(text)}" for text in facts["follows"]]
    lines += [f"followed by  {escape(text)}" for text in facts["followed_by"]]
    if facts["fingerprinted"]:
        lines += [
            f"part of      the fingerprint of {', '.join(facts['fingerprinted'])}",
            f"a change     rebuilds {', '.join(facts['rebuilt'])}",
        ]
    else:
        lines.append("part of      no fingerprint: a change rebuilds nothing")
    rich.print("\n".join(lines) + "\n")


def _facts(field: Field) -> dict[str, Any]:
    from flows.explaining.influence import influence_of

    values = {name: value_of(make(), field) for name, make in PRESETS.items()}
    return {
        "key": field.key,
        "type": field.type,
        "unit": field.unit,
        "default": field.default,
        "meaning": field.meaning,
        "presets": {name: value for name, value in values.items() if value != field.default},
        "follows": [
            f"{leader} unless given: {how}"
            for follower, (leader, how) in FOLLOWING.items()
            if follower == field.key
        ],
        "followed_by": [
            f"{follower} unless given: {how}"
            for follower, (leader, how) in FOLLOWING.items()
            if leader == field.key
        ],
        **dataclasses.asdict(influence_of(field)),
    }


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return escape(", ".join(map(str, value)))
    text = str(value)
    return escape(text if len(text) < 44 else f"…{text[-42:]}") or '""'
