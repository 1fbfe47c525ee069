"""`owt artifacts`: what is in the store, whether it is sound, and what it was made of."""

import json
from collections.abc import Iterator, Sequence
from typing import Annotated

import rich
import typer
from rich.markup import escape

from artifacts.content_hash import forget
from artifacts.names import local_place
from artifacts.record import Record
from artifacts.store import Store, list_records, open_store, resolve, scan_records
from flows.cli.completion import complete_artifact, complete_stage
from flows.cli.options import AsJson
from flows.cli.tables import format_seconds, is_narrow, let_wrap, plain_table, print_table
from flows.config import nearest
from flows.naming import losses_of_models, name_artifact
from flows.settings import data_root, store_url
from flows.stage_names import stage_names
from tasks.watching.progress import format_bytes

app = typer.Typer(help="List, show, verify and trace artifacts.", no_args_is_help=True)

Name = Annotated[
    str,
    typer.Argument(
        help="A stage, stage/fingerprint, a fingerprint's start, or a label.",
        autocompletion=complete_artifact,
    ),
]
StoreUrl = Annotated[
    str, typer.Option("--store", help="Folder or URL; default: artifacts in the data root.")
]


@app.command("ls")
def ls(
    stage: Annotated[
        str, typer.Argument(help="Only this stage.", autocompletion=complete_stage)
    ] = "",
    store: StoreUrl = "",
    as_json: AsJson = False,
) -> None:
    """List the artifacts, newest first: a model with its loss, and what differs from the preset."""
    opened = _open(store)
    records = list_records(opened, stage or None)
    if stage and not records and stage not in stage_names():
        raise ValueError(f"unknown stage {stage!r}; {nearest(stage, stage_names())}")
    if as_json:
        facts = [record.to_json() for record in records]
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    costs = () if is_narrow() else ("size", "seconds")
    table = plain_table(f"Store: {opened.url}", ("artifact", "made at"), (*costs, "what"))
    let_wrap(table.columns[-1])
    losses = losses_of_models(list_records(opened))
    for record in records:
        size_bytes = sum(entry.size_bytes for entry in record.files)
        took = (format_bytes(size_bytes), f"{record.seconds:.1f}")[: len(costs)]
        made_at = record.started_at[:16].replace("T", " ")
        table.add_row(record.place, made_at, *took, escape(name_artifact(record, losses)))
    if not records:
        typer.echo(f"no artifact in {opened.url}; owt run makes some")
        return
    print_table(table)


@app.command("show")
def show(name: Name, store: StoreUrl = "") -> None:
    """Print the record of an artifact as JSON."""
    typer.echo(json.dumps(resolve(_open(store), name).to_json(), indent=2, ensure_ascii=False))


@app.command("verify")
def verify(
    name: Annotated[str, typer.Argument(help="As for show; default: every artifact.")] = "",
    store: StoreUrl = "",
) -> None:
    """Hash every file again and compare with the records; exit code 1 when one differs."""
    from artifacts.published.checking import verify as verify_artifact

    opened = _open(store)
    found = [resolve(opened, name)] if name else list(scan_records(opened))
    failed = 0
    for record in found:
        if isinstance(record, Record):
            place, problems = record.place, verify_artifact(opened, record)
        else:
            place, problems = "record.json", [str(record)]
        failed += bool(problems)
        if problems and isinstance(record, Record):
            _forget_sources(record)
        rich.print(f"{place}: {'; '.join(map(escape, problems)) or 'sound'}")
    if failed:
        rich.print(f'{failed} of {len(found)} damaged; "owt run" builds them again')
        raise typer.Exit(1)


def _forget_sources(record: Record) -> None:
    """Let the next run read a corpus again whose hash is no longer what was remembered."""
    for external in record.external_files:
        forget(local_place(external.uri), data_root() / "memo")


@app.command("lineage")
def lineage(name: Name, store: StoreUrl = "") -> None:
    """Print what an artifact was made of, up to the corpus."""
    from artifacts.published.lineage import format_lineage
    from artifacts.published.lineage import lineage as trace

    opened = _open(store)
    typer.echo(format_lineage(trace(opened, resolve(opened, name))))


@app.command("who-uses")
def who_uses(name: Name, store: StoreUrl = "") -> None:
    """Print what was made from an artifact, directly and further on."""
    from artifacts.published.lineage import format_users

    opened = _open(store)
    typer.echo(format_users(resolve(opened, name), list_records(opened)))


@app.command("pin")
def pin(
    name: Name,
    store: StoreUrl = "",
    reason: Annotated[str, typer.Option("--reason", help="Why, for other people.")] = "",
) -> None:
    """Keep an artifact and all that it was made from, whatever gc removes."""
    from artifacts.housekeeping.notes import pin as pin_artifact

    opened = _open(store)
    record = resolve(opened, name)
    pin_artifact(opened, record, reason)
    typer.echo(f"pinned {record.place}")


@app.command("unpin")
def unpin(name: Name, store: StoreUrl = "") -> None:
    """Let a pinned artifact go again."""
    from artifacts.housekeeping.notes import unpin as unpin_artifact

    opened = _open(store)
    record = resolve(opened, name)
    was_pinned = unpin_artifact(opened, record)
    typer.echo(f"{record.place} {'is no longer' if was_pinned else 'was not'} pinned")


@app.command("du")
def du(store: StoreUrl = "") -> None:
    """Print how much of the disk each stage's artifacts take."""
    from artifacts.housekeeping.disk_usage import disk_usage

    opened = _open(store)
    table = plain_table(f"Store: {opened.url}", ("what",), ("artifacts", "size"))
    found = disk_usage(opened)
    for usage in found:
        what = f"{usage.what} ({usage.note})" if usage.note else usage.what
        table.add_row(what, str(usage.count or ""), format_bytes(usage.size_bytes))
    table.add_row("all", "", format_bytes(sum(usage.size_bytes for usage in found)))
    print_table(table)


@app.command("gc")
def gc(
    store: StoreUrl = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    keep_days: Annotated[
        float, typer.Option("--keep-days", min=0, help="Keep what was used within so many days.")
    ] = 30,
    max_gb: Annotated[
        float | None,
        typer.Option("--max-gb", min=0, help="Above this size remove the longest unused, too."),
    ] = None,
) -> None:
    """Remove what nobody has used for long, and what crashes left; never what is needed.

    Pinned artifacts, those being built, those used lately, and all they were made from, stay.
    """
    from artifacts.housekeeping.sweep import plan_sweep, sweep

    opened = _open(store)
    max_bytes = int(max_gb * 1e9) if max_gb is not None else None
    removals = plan_sweep(opened, keep_days=keep_days, max_bytes=max_bytes)
    gone = removals if dry_run else list(sweep(opened, removals))
    for removal in gone:
        path = removal.path.removeprefix(f"{opened.root}/")
        typer.echo(f"{path}: {format_bytes(removal.size_bytes)}, {removal.reason}")
    total = format_bytes(sum(removal.size_bytes for removal in gone))
    typer.echo(f"{len(gone)} {'would go' if dry_run else 'removed'}, {total}")


@app.command("why")
def why(name: Name, store: StoreUrl = "") -> None:
    """Print why an artifact is what it is: what differs from the nearest one of its stage."""
    opened = _open(store)
    record, records = resolve(opened, name), list_records(opened)
    typer.echo(" ".join([record.place, *record.labels.values()]))
    took = f"made {record.started_at[:16].replace('T', ' ')} in {format_seconds(record.seconds)}"
    if expected := record.predicted.get("seconds"):
        took += f", predicted {format_seconds(float(expected))}"
    typer.echo(f"  {took}, by code {record.code_version or 'of no known version'}")
    for made_from, reference in record.inputs.items():
        typer.echo(f"  {made_from}: {reference.place}")
    for line in _differences(record, records):
        typer.echo(f"  {line}")


def _differences(record: Record, records: Sequence[Record]) -> Iterator[str]:
    from artifacts.published.difference import nearest

    identities = {other.fingerprint: other.identity for other in records}
    others = [
        other
        for other in records
        if other.stage == record.stage and other.fingerprint != record.fingerprint
    ]
    # A split's text is no neighbour of the other split's.
    same_split = [o for o in others if o.config.get("split") == record.config.get("split")]
    found = nearest(record.identity, same_split, lambda made: identities.get(made.fingerprint))
    if found is None:
        yield "no other artifact to compare with"
        return
    other, differences = found
    yield f"nearest: {other.place}, which differs in"
    yield from (f"  {difference}" for difference in differences)


def _open(url: str) -> Store:
    return open_store(store_url(url))
