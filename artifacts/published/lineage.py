"""Lineage: what an artifact was made from, and what from it, answered from records alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from artifacts.identity import Reference
from artifacts.record import Record
from artifacts.store import DamagedRecordError, Store, find_record, reference_of


@dataclass(frozen=True, slots=True)
class LineageNode:
    """An artifact and what it was made from."""

    reference: Reference
    record: Record | None
    """None if the artifact is not in the store, or its record is damaged."""
    problem: str
    """Why there is no record; empty if there is one."""
    inputs: dict[str, "LineageNode"]
    """By the names that the stage gives them."""


def lineage(store: Store, record: Record) -> LineageNode:
    """Return the tree of everything an artifact was made from; missing ones are marked."""
    return _node(store, reference_of(store, record), {})


def _node(store: Store, reference: Reference, seen: dict[str, LineageNode]) -> LineageNode:
    # An ancestor of several stages is read once. There are no cycles, because a fingerprint is made
    # from those of its inputs.
    if reference.fingerprint in seen:
        return seen[reference.fingerprint]
    record, problem = _look_up(store, reference)
    parents = record.inputs if record else {}
    inputs = {name: _node(store, parents[name], seen) for name in sorted(parents)}
    node = LineageNode(reference, record, problem, inputs)
    seen[reference.fingerprint] = node
    return node


def _look_up(store: Store, reference: Reference) -> tuple[Record | None, str]:
    try:
        record = find_record(store, reference)
    except DamagedRecordError:
        return None, "its record is damaged"
    return record, "" if record else f"missing, was at {reference.uri}"


def format_users(record: Record, records: Sequence[Record]) -> str:
    """Return what was made from an artifact, and from that, as indented lines; each once."""
    return "\n".join(_user_lines(record, records, 0, set()))


def _user_lines(
    record: Record, records: Sequence[Record], depth: int, shown: set[str]
) -> Iterator[str]:
    names = " ".join(record.labels.values())
    above = " (as above)" if record.fingerprint in shown else ""
    yield f"{'  ' * depth}{record.place}{' ' if names else ''}{names}{above}"
    if not above:
        shown.add(record.fingerprint)
        for user in users(record, records):
            yield from _user_lines(user, records, depth + 1, shown)


def users(record: Record, records: Sequence[Record]) -> list[Record]:
    """Return which of the artifacts were made from this one directly."""
    return [
        other
        for other in records
        if any(made_from.fingerprint == record.fingerprint for made_from in other.inputs.values())
    ]


def format_lineage(node: LineageNode) -> str:
    """Return the tree as indented lines, up to the files outside the store."""
    return "\n".join(_lines(node, "", 0, set()))


def _lines(node: LineageNode, name: str, depth: int, shown: set[str]) -> Iterator[str]:
    indent = "  " * depth
    place = node.reference.place
    label = f"{name}: {place}" if name else place
    if node.record is None:
        yield f"{indent}{label} ({node.problem})"
        return
    names = " ".join(node.record.labels.values())
    if node.reference.fingerprint in shown:
        yield f"{indent}{label} (as above)"
        return
    shown.add(node.reference.fingerprint)
    yield f"{indent}{label}{' ' if names else ''}{names}"
    for external in node.record.external_files:
        yield f"{indent}  {external.name}: {external.uri} sha256 {external.sha256[:16]}"
    for key, parent in node.inputs.items():
        yield from _lines(parent, key, depth + 1, shown)
