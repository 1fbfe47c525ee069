"""Sweeping: which artifacts and leavings may go, and how they go without harm.

Kept are pinned artifacts, those used lately, those that are being built, and all that each of them
was made from. The rest goes, and with a limit of size the longest unused of what is not pinned and
not being built. A record goes before its files, so at every moment there is a whole artifact or
none; one that was used meanwhile stays.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from artifacts import filesystem
from artifacts.housekeeping import notes
from artifacts.identity import Reference
from artifacts.lease import lease_chain
from artifacts.lease.builder_process import is_dead
from artifacts.record import Record
from artifacts.store import Store, hidden_path, published_path, record_path, scan_records

DAY_S = 86_400.0
LEAVING_S = 3_600.0
"""Leavings of a crash are older: far above a lease's time to live, so nobody writes them."""


@dataclass(frozen=True, slots=True)
class Removal:
    """Something that may go."""

    path: str
    """Inside the filesystem."""
    size_bytes: int
    reason: str
    record: Record | None = None
    """The artifact, where it is one and no leaving."""


def plan_sweep(
    store: Store, *, keep_days: float, max_bytes: int | None = None, now: float | None = None
) -> list[Removal]:
    """Return what may go, artifacts first; nothing is removed.

    Args:
        store: The store.
        keep_days: An artifact that was used within so many days stays, with its ancestors.
        max_bytes: Above this size of all artifacts, longer unused ones go too, down to a day.
        now: The moment, in seconds since 1970; default: now.

    Raises:
        RecordFormatError: A record has another format; what it needs is unknown.
        DamagedRecordError: A record cannot be read; what it needs is unknown.
    """
    moment = time.time() if now is None else now
    records = {record.place: record for record in _readable(store)}
    building = set(_building(store, moment))
    last_use = {place: _last_use(store, record) for place, record in records.items()}
    needed = {place for place in records if notes.is_pinned(store, records[place])} | building
    lately = {place for place, used in last_use.items() if moment - used < keep_days * DAY_S}
    kept = _with_ancestors(needed | lately, records)
    removals = [
        _removal(store, records[place], moment - last_use[place])
        for place in sorted(records.keys() - kept, key=lambda place: last_use[place])
    ]
    if max_bytes is not None:
        removals += _beyond_size(store, records, last_use, needed, removals, max_bytes, moment)
    return removals + list(_leavings(store, records, building, keep_days, moment))


def sweep(store: Store, removals: Iterable[Removal]) -> Iterator[Removal]:
    """Remove what was planned, and yield what has gone; what was used or built meanwhile stays."""
    began = time.time()
    for removal in removals:
        if removal.record is not None:
            if _is_wanted(store, removal.record, since=began):
                continue
            filesystem.remove(store.fs, record_path(store, removal.record))
            filesystem.remove(store.fs, hidden_path(store, "checked", removal.record) + ".json")
            notes.forget(store, removal.record)
        filesystem.remove_below(store.fs, removal.path)
        yield removal


def _is_wanted(store: Store, record: Record, since: float) -> bool:
    used = notes.used_at(store, record) > since - notes.USED_EVERY_S
    return used or notes.is_pinned(store, record) or _is_held(store, record.place, since)


def _readable(store: Store) -> Iterator[Record]:
    for found in scan_records(store):
        if not isinstance(found, Record):
            raise found
        yield found


def _last_use(store: Store, record: Record) -> float:
    """Return when an artifact was used, or made: who made it had a use for it."""
    try:
        made = datetime.fromisoformat(record.started_at).timestamp() + record.seconds
    except ValueError:
        made = 0.0
    return max(made, notes.used_at(store, record))


def _building(store: Store, now: float) -> Iterator[str]:
    """Yield the places that somebody builds now, and those of what is read for it."""
    for place in _places(store, ".leases"):
        if _is_held(store, place, now):
            yield place
            yield from notes.needs_of(store, _key(place))


def _is_held(store: Store, place: str, now: float) -> bool:
    """Return whether a builder may be alive; in doubt it is."""
    note = lease_chain.highest(store, _key(place)).note
    if note is not None and note.state == "publishing":
        return True  # decided: whoever comes next completes it, with the files that are there
    if note is None or note.state != "held" or is_dead(note.process):
        return False
    return now - note.heard_at < LEAVING_S


def _with_ancestors(places: set[str], records: Mapping[str, Record]) -> set[str]:
    found: set[str] = set()
    waiting = list(places)
    while waiting:
        place = waiting.pop()
        if place not in found:
            found.add(place)
            record = records.get(place)
            waiting += [r.place for r in record.inputs.values()] if record else []
    return found


def _beyond_size(
    store: Store,
    records: Mapping[str, Record],
    last_use: Mapping[str, float],
    needed: set[str],
    removals: list[Removal],
    max_bytes: int,
    now: float,
) -> Iterator[Removal]:
    """Yield the longest unused artifacts until the others fit; users before what they use."""
    gone = {removal.record.place for removal in removals if removal.record is not None}
    left = {place: record for place, record in records.items() if place not in gone}
    today = {place for place in left if now - last_use[place] < DAY_S}
    kept = _with_ancestors(needed | today, left)
    total = sum(_size(record) for record in left.values())
    while total > max_bytes:
        used = {made_from.place for record in left.values() for made_from in record.inputs.values()}
        place = min(left.keys() - kept - used, key=lambda place: last_use[place], default=None)
        if place is None:
            return
        record = left.pop(place)
        total -= _size(record)
        yield _removal(store, record, now - last_use[place])


def _removal(store: Store, record: Record, unused_s: float) -> Removal:
    reason = f"not used for {unused_s / DAY_S:.0f} days"
    return Removal(published_path(store, record), _size(record), reason, record)


def _size(record: Record) -> int:
    return sum(entry.size_bytes for entry in record.files)


def _leavings(
    store: Store, records: Mapping[str, Record], building: set[str], keep_days: float, now: float
) -> Iterator[Removal]:
    """Yield what crashes and repairs left behind and nobody will read."""
    for place in _places(store, ""):
        used = records[place].folder if place in records else None
        for name in filesystem.names_in(store.fs, f"{store.root}/{place}"):
            if place not in building and name not in ("record.json", used):
                path = f"{store.root}/{place}/{name}"
                yield from _old(store, path, "an attempt that was never published", LEAVING_S, now)
    for place in _places(store, ".staging"):
        path = f"{store.root}/.staging/{place}"
        if place in records and place not in building:
            yield from _old(store, path, "parts of what is published", LEAVING_S, now)
        elif place not in building:
            yield from _old(store, path, "unfinished work", max(keep_days * DAY_S, LEAVING_S), now)
    for place in _places(store, ".quarantine"):
        path = f"{store.root}/.quarantine/{place}"
        yield from _old(store, path, "set aside as damaged", keep_days * DAY_S, now)


def _old(store: Store, path: str, reason: str, age_s: float, now: float) -> Iterator[Removal]:
    size_bytes, changed_at = filesystem.size_and_change(store.fs, path)
    if now - changed_at >= age_s:
        yield Removal(path, size_bytes, reason)


def _places(store: Store, area: str) -> Iterator[str]:
    root = f"{store.root}/{area}".rstrip("/")
    for stage in filesystem.names_in(store.fs, root):
        if not stage.startswith("."):
            for short in filesystem.names_in(store.fs, f"{root}/{stage}"):
                yield f"{stage}/{short}"


def _key(place: str) -> Reference:
    """Return what finds the notes of a place, whose fingerprint's end is unknown."""
    stage, _, short = place.partition("/")
    return Reference(stage, short, "")
