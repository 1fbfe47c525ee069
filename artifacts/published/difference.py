"""Why two artifacts of a stage are not the same one: which field of which input differs."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from artifacts.identity import Identity, Reference
from artifacts.record import Record

Find = Callable[[Reference], Identity | None]
"""Gives what an artifact was or will be made from; `None` where nobody knows."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One fact that differs."""

    input: str
    """The way to the artifact whose fact it is, such as `model.train`; "": the artifact itself."""
    field: str
    old: Any
    new: Any

    def __str__(self) -> str:
        """Return it in a few words.

        >>> str(Difference("model", "train_lm.max_steps", 10, 20))
        'input model: train_lm.max_steps: 10 -> 20'
        """
        return (f"input {self.input}: " if self.input else "") + self.fact

    @property
    def fact(self) -> str:
        """The field with both values."""
        return f"{self.field}: {_short(self.old)} -> {_short(self.new)}"


def nearest(
    wanted: Identity, records: Iterable[Record], find: Find
) -> tuple[Record, list[Difference]] | None:
    """Return the artifact that differs in the fewest facts, the first of several, with these."""
    found = [(record, differences(record.identity, wanted, find)) for record in records]
    return min(found, key=lambda item: len(item[1]), default=None)


def differences(old: Identity, new: Identity, find: Find) -> list[Difference]:
    """Return what differs, each fact once: those of the artifact, then those of its inputs.

    An input that differs is followed to the facts that make it differ; where one of the two is
    unknown, its fingerprint is the fact.
    """
    return list(_differences(old, new, find, "", set()))


def _differences(
    old: Identity, new: Identity, find: Find, place: str, seen: set[tuple[str, str]]
) -> Iterator[Difference]:
    if (old.fingerprint, new.fingerprint) in seen:
        return  # an ancestor by several ways is told once
    seen.add((old.fingerprint, new.fingerprint))
    before, after = _flat(old.config), _flat(new.config)
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield Difference(place, name, before.get(name), after.get(name))
    if old.version != new.version:
        yield Difference(place, "stage version", old.version, new.version)
    for name in sorted(old.inputs.keys() | new.inputs.keys()):
        yield from _of_input(old.inputs.get(name), new.inputs.get(name), find, place, name, seen)


def _of_input(
    old: Reference | None,
    new: Reference | None,
    find: Find,
    place: str,
    name: str,
    seen: set[tuple[str, str]],
) -> Iterator[Difference]:
    if old and new and old.fingerprint == new.fingerprint:
        return
    before, after = (find(reference) if reference else None for reference in (old, new))
    if before and after:
        yield from _differences(before, after, find, f"{place}.{name}".lstrip("."), seen)
    else:
        yield Difference(place, f"input {name}", old and old.place, new and new.place)


def _flat(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:  # JSON knows lists only
            flat[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return flat


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) > 24 else text
