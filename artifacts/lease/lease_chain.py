"""The chain of one artifact: numbered notes, of which only the highest counts.

Every change of hands is a note that is created exclusively under the next number: a builder that
takes the lease, and a builder that publishes. So of two that want to go on from the same note one
succeeds. The highest note is never removed, so no number is used twice, and a builder that was
paused for however long finds out that it is not the last one.
"""

import json
import re
from dataclasses import asdict, dataclass, replace
from typing import Literal, cast

from artifacts import filesystem
from artifacts.identity import ArtifactKey
from artifacts.json_text import as_object, parse_json, typed
from artifacts.lease.builder_process import BuilderProcess
from artifacts.store import Store, hidden_path, record_path

NUMBER_DIGITS = 8
"""Digits of a number in a name, so that names sort as numbers do."""

_NAME = re.compile(rf"[0-9]{{{NUMBER_DIGITS}}}\.json")
_MAX_TIME_TO_LIVE_S = 3600.0
"""A note cannot ask others to wait longer than this for a sign of life."""

State = Literal["held", "ended", "publishing", "published"]
_STATES: tuple[State, ...] = ("held", "ended", "publishing", "published")


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What one number of the chain says."""

    owner: str
    """The builder's name for people."""
    token: str
    """The builder's unique name."""
    process: BuilderProcess
    state: State = "held"
    """held: it builds; publishing: its record is decided; ended, published: it is done."""
    beat: int = 0
    """Counts signs of life. Others watch whether it changes, so no two clocks are compared."""
    heard_at: float = 0.0
    """Builder's clock at the last sign of life; only shown to people, never decided by."""
    time_to_live_s: float = 0.0
    """Time without a sign of life after which others may take over."""
    floor: int = 0
    """Number of the last publication before. What was staged up to there is not used again: the
    artifact was set aside since, and on one disk staged and published data are the same."""
    record: str = ""
    """The whole text of record.json, where the state is publishing."""

    def to_bytes(self) -> bytes:
        """Return the note as it is stored."""
        return json.dumps(asdict(self)).encode()


@dataclass(frozen=True, slots=True)
class Link:
    """A number of the chain, and its note."""

    number: int
    note: Note | None
    """None where nobody holds the lease: no note at all, or one that cannot be read."""


def highest(store: Store, key: ArtifactKey) -> Link:
    """Return the link that counts; number 0 where the chain has not begun."""
    numbers = _numbers(store, key)
    if not numbers:
        return Link(0, None)
    path = _path(store, key, numbers[-1])
    (data,) = filesystem.read_all(store.fs, [path])
    note = _parsed(data)
    if note is None:  # the answer may have been cut off, and nobody may lose a lease by that
        (data,) = filesystem.read_all(store.fs, [path])
        note = _parsed(data)
    return Link(numbers[-1], note)


def append(store: Store, key: ArtifactKey, after: Link, note: Note) -> bool:
    """Create the note after a link, and return whether it is the highest now."""
    number = after.number + 1
    path = _path(store, key, number)
    if not filesystem.create_exclusive(store.fs, path, note.to_bytes()):
        return False
    # Who was paused between look and creation may have created a number that is long past. And a
    # filesystem that cannot create exclusively lets two through: the note that is there counts.
    now = highest(store, key)
    if now.number == number and now.note is not None and now.note.token == note.token:
        _remove_below(store, key, number - 1)  # one more stays, so that no listing finds nothing
        return True
    if now.number > number:
        filesystem.remove(store.fs, path)
    return False


def rewrite(store: Store, key: ArtifactKey, number: int, note: Note) -> None:
    """Replace a note by what its own builder says now. Harmless where it is not the highest."""
    filesystem.write_bytes(store.fs, _path(store, key, number), note.to_bytes())


def end(store: Store, key: ArtifactKey, link: Link) -> None:
    """Let the next builder begin."""
    if link.note is None:
        return
    state: State = "ended"
    if link.note.state == "publishing":
        if not filesystem.exists(store.fs, record_path(store, key)):
            return  # the builder was stopped in between: the next one creates the record
        state = "published"
    rewrite(store, key, link.number, replace(link.note, state=state, record=""))


def floor_after(link: Link) -> int:
    """Return the floor of a builder that takes over from a link."""
    if link.note is None:
        return 0
    return link.number if link.note.state in ("publishing", "published") else link.note.floor


def _path(store: Store, key: ArtifactKey, number: int) -> str:
    return f"{hidden_path(store, 'leases', key)}/{number:0{NUMBER_DIGITS}d}.json"


def _numbers(store: Store, key: ArtifactKey) -> list[int]:
    names = filesystem.names_in(store.fs, hidden_path(store, "leases", key))
    return sorted(int(name[:NUMBER_DIGITS]) for name in names if _NAME.fullmatch(name))


def _remove_below(store: Store, key: ArtifactKey, number: int) -> None:
    for older in _numbers(store, key):
        if older < number:
            filesystem.remove(store.fs, _path(store, key, older))


def _parsed(data: bytes | None) -> Note | None:
    """Return a note, or None if it cannot be read: then nobody holds the lease."""
    try:
        values = as_object(parse_json(data or b""))
        process = typed(values, "process", dict)
        note = Note(
            owner=typed(values, "owner", str),
            token=typed(values, "token", str),
            process=BuilderProcess(
                typed(process, "boot", str),
                typed(process, "pid", int),
                typed(process, "started", str),
            ),
            state=cast("State", typed(values, "state", str)),
            beat=typed(values, "beat", int),
            heard_at=typed(values, "heard_at", float),
            time_to_live_s=min(typed(values, "time_to_live_s", float), _MAX_TIME_TO_LIVE_S),
            floor=typed(values, "floor", int),
            record=typed(values, "record", str),
        )
    except ValueError:
        return None
    return note if note.state in _STATES else None
