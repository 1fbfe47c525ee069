"""The pipeline as a picture: a box an artifact, an arrow where one was made from another."""

from collections.abc import Mapping

from markupsafe import escape

from artifacts.record import Record
from tasks.report.wording import seconds
from tasks.watching.progress import format_bytes

_WIDTH, _HEIGHT, _GAP, _ROW = 146, 58, 26, 82
"""Pixels of a box, between boxes, and from row to row."""


def pipeline_picture(records: Mapping[str, Record]) -> str:
    """Draw the artifacts of a walk, each to the right of all that it is made from."""
    places = _places(records)
    boxes = [_box(name, records[name], *places[name]) for name in records]
    arrows = [
        _arrow(places[source], places[name])
        for name, sources in direct_sources(records).items()
        for source in sources
    ]
    width = max(x for x, _ in places.values()) + _WIDTH + 2
    height = max(y for _, y in places.values()) + _HEIGHT + 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-1 -1 {width} {height}" '
        f'font-family="system-ui, sans-serif">{"".join(arrows)}{"".join(boxes)}</svg>'
    )


def size_bytes(record: Record) -> int:
    """Return the bytes of an artifact's files, those outside the store included."""
    inside = sum(entry.size_bytes for entry in record.files)
    return inside + sum(file.size_bytes for file in record.external_files)


def _places(records: Mapping[str, Record]) -> dict[str, tuple[int, int]]:
    """Place each artifact to the right of all that it is made from."""
    names = {record.fingerprint: name for name, record in records.items()}
    columns: dict[str, int] = {}
    used: dict[int, int] = {}
    places = {}
    for name, record in records.items():  # in the order of the walk: inputs come first
        sources = [names[r.fingerprint] for r in record.inputs.values() if r.fingerprint in names]
        columns[name] = max((columns[source] + 1 for source in sources), default=0)
    # The validation text has the second row to itself, so that its arrows cross no box.
    for name in sorted(records, key=lambda name: name.endswith(" valid")):
        row = used.get(columns[name], int(name.endswith(" valid")))
        used[columns[name]] = row + 1
        places[name] = (columns[name] * (_WIDTH + _GAP), row * _ROW)
    return places


def direct_sources(records: Mapping[str, Record]) -> dict[str, list[str]]:
    """Return what each artifact is made from, without what its other sources are made from."""
    names = {record.fingerprint: name for name, record in records.items()}
    sources = {
        name: [names[r.fingerprint] for r in record.inputs.values() if r.fingerprint in names]
        for name, record in records.items()
    }
    above: dict[str, set[str]] = {}
    for name, found in sources.items():  # in the order of the walk
        above[name] = set(found).union(*(above[source] for source in found))
    return {
        name: [s for s in found if not any(s in above[other] for other in found)]
        for name, found in sources.items()
    }


def _box(name: str, record: Record, x: int, y: int) -> str:
    stage, _, split = name.partition(" ")
    title = f"{stage} {split}".strip()
    second = f"{seconds(record.seconds)} · {format_bytes(size_bytes(record))}"
    lines = [
        _line(title, x, y + 17, "var(--ink, #1c2127)", "600 11px"),
        _line(second, x, y + 33, "var(--ink, #1c2127)", "11px"),
        _line(record.fingerprint[:16], x, y + 48, "var(--muted, #5c6670)", "9px"),
    ]
    return (
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="4" '
        f'style="fill: none; stroke: var(--muted, #5c6670)" stroke-width="0.8"/>{"".join(lines)}'
    )


def _line(text: str, x: int, y: int, color: str, font: str) -> str:
    style = f"fill: {color}; font: {font} system-ui, sans-serif"
    return f'<text x="{x + 8}" y="{y}" style="{style}">{escape(text)}</text>'


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    """Draw a curve from the right side of a box to the left side of another one."""
    x1, y1 = start[0] + _WIDTH, start[1] + _HEIGHT / 2
    x2, y2 = end[0], end[1] + _HEIGHT / 2
    middle = x2 - _GAP / 2
    return (
        f'<path d="M{x1},{y1} C{middle},{y1} {middle},{y2} {x2},{y2}" fill="none" '
        f'style="stroke: var(--muted, #5c6670)" stroke-width="0.9" opacity="0.7"/>'
    )
