"""Notes for the sweep: when an artifact was used, whether it is pinned, what a build needs.

They are small files in the store's dot folders, one an artifact. Nothing but the sweep reads them,
so one that is lost or damaged costs at most a rebuild.
"""

import json
import time
from collections.abc import Iterable
from contextlib import suppress

from artifacts import filesystem
from artifacts.identity import ArtifactKey, Reference
from artifacts.json_text import as_object, parse_json
from artifacts.record import JsonObject
from artifacts.store import Store, hidden_path

USED_EVERY_S = 3600.0
"""A use is noted at most so often: a look is cheaper than a write."""


def mark_used(store: Store, key: ArtifactKey) -> None:
    """Note that an artifact is used now; silent where the store cannot be written."""
    with suppress(OSError):
        if time.time() - used_at(store, key) >= USED_EVERY_S:
            _write(store, "used", key, {"used_at": time.time()})


def used_at(store: Store, key: ArtifactKey) -> float:
    """Return when an artifact was last noted as used, in seconds since 1970; 0: never."""
    moment = _read(store, "used", key).get("used_at", 0.0)
    return float(moment) if isinstance(moment, int | float) else 0.0


def pin(store: Store, key: ArtifactKey, reason: str = "") -> None:
    """Keep an artifact and all that it was made from, until it is unpinned."""
    note = {"fingerprint": key.fingerprint, "reason": reason, "pinned_at": time.time()}
    _write(store, "pins", key, note)


def unpin(store: Store, key: ArtifactKey) -> bool:
    """Let an artifact go again; return whether it was pinned."""
    was_pinned = is_pinned(store, key)
    filesystem.remove(store.fs, _path(store, "pins", key))
    return was_pinned


def is_pinned(store: Store, key: ArtifactKey) -> bool:
    """Return whether an artifact is pinned; a damaged pin is one."""
    return filesystem.exists(store.fs, _path(store, "pins", key))


def note_needs(store: Store, key: ArtifactKey, inputs: Iterable[Reference]) -> None:
    """Note what the build of an artifact reads, for as long as somebody holds its lease."""
    _write(store, "needs", key, {"places": [reference.place for reference in inputs]})


def needs_of(store: Store, key: ArtifactKey) -> list[str]:
    """Return the places of the artifacts that a build reads."""
    places = _read(store, "needs", key).get("places", [])
    return [str(place) for place in places] if isinstance(places, list) else []


def forget(store: Store, key: ArtifactKey) -> None:
    """Remove the notes of an artifact that is gone."""
    for area in ("used", "needs"):
        filesystem.remove(store.fs, _path(store, area, key))


def _path(store: Store, area: str, key: ArtifactKey) -> str:
    return f"{hidden_path(store, area, key)}.json"


def _write(store: Store, area: str, key: ArtifactKey, note: JsonObject) -> None:
    filesystem.write_bytes(store.fs, _path(store, area, key), json.dumps(note).encode())


def _read(store: Store, area: str, key: ArtifactKey) -> JsonObject:
    (data,) = filesystem.read_all(store.fs, [_path(store, area, key)])
    try:
        return as_object(parse_json(data or b"{}"))
    except ValueError:
        return {}
