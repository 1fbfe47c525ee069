"""Leases: one builder at a time per artifact, as a courtesy.

A lease avoids that two builders do the same work. Correctness never depends on it, because
publishing is exclusive by itself. A lease is a numbered file that its holder rewrites from time to
time. Who finds the highest number expired creates the next one, exclusively: so two that take over
at the same moment cannot both succeed, and nothing has to be deleted first.
"""

import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from artifacts import filesystem
from artifacts.identity import ArtifactKey
from artifacts.store import Store, hidden_path

logger = logging.getLogger(__name__)

TIME_TO_LIVE_S = 60.0
"""Time without a heartbeat after which others may take a lease over."""

HEARTBEAT_S = 15.0
"""Time between two heartbeats. Below half the time to live, so that a late one loses nothing."""

POLL_S = 1.0
"""Time between two attempts of a builder that waits for a lease."""

_NAME = re.compile(r"\d{8}\.json")


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """Who holds a lease."""

    owner: str
    age_s: float
    """Seconds since its last heartbeat."""


@dataclass(frozen=True, slots=True)
class _Note:
    owner: str
    heartbeat_at: float
    time_to_live_s: float
    token: str
    """Makes every note unique, which exclusive creation needs."""

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @property
    def age_s(self) -> float:
        return max(0.0, time.time() - self.heartbeat_at)

    @property
    def expired(self) -> bool:
        return self.age_s > self.time_to_live_s


def describe_lease(store: Store, key: ArtifactKey) -> LeaseHolder | None:
    """Return who is building an artifact, or None if nobody is or the builder died."""
    _, note = _newest(store, hidden_path(store, "leases", key))
    return None if note is None or note.expired else LeaseHolder(note.owner, note.age_s)


@contextmanager
def wait_for_lease(store: Store, key: ArtifactKey, *, owner: str) -> Iterator[None]:
    """Hold the lease on an artifact during the with block, after waiting for it.

    It waits until the holder ends or dies. The artifact may be there by then: check again inside.

    Args:
        store: The store that the artifact will be in.
        key: The artifact.
        owner: Unique name of the builder, shown to others (host, process, flow run). Who asks again
            under the same name need not wait for its own earlier lease.
    """
    while (path := _acquire(store, key, owner)) is None:
        time.sleep(POLL_S)
    with _kept_alive(store, path, owner):
        yield


def _acquire(store: Store, key: ArtifactKey, owner: str) -> str | None:
    """Create the next number and return its path, or None while another builder holds the lease."""
    folder = hidden_path(store, "leases", key)
    number, note = _newest(store, folder)
    if note is not None and not note.expired and note.owner != owner:
        return None
    path = _numbered(folder, number + 1)
    if not filesystem.create_exclusive(store.fs, path, _new_note(owner).to_bytes()):
        return None
    _remove_older(store, folder, number + 1)
    return path


def _new_note(owner: str) -> _Note:
    return _Note(owner, time.time(), TIME_TO_LIVE_S, uuid.uuid4().hex)


def _numbered(folder: str, number: int) -> str:
    return f"{folder}/{number:08d}.json"


def _numbers(store: Store, folder: str) -> list[int]:
    names = filesystem.names_in(store.fs, folder)
    return sorted(int(name[:8]) for name in names if _NAME.fullmatch(name))


def _newest(store: Store, folder: str) -> tuple[int, _Note | None]:
    """Return the highest number and its note; 0 and None if there is none."""
    while numbers := _numbers(store, folder):
        try:
            data = filesystem.read_bytes(store.fs, _numbered(folder, numbers[-1]))
            return numbers[-1], _Note(**json.loads(data))
        except FileNotFoundError:
            continue  # released at this moment: the next holder begins with 1 again
        except (ValueError, TypeError):
            return numbers[-1], None  # damaged, so it is free
    return 0, None


def _remove_older(store: Store, folder: str, number: int) -> None:
    for older in _numbers(store, folder):
        if older < number:
            filesystem.remove(store.fs, _numbered(folder, older))


@contextmanager
def _kept_alive(store: Store, path: str, owner: str) -> Iterator[None]:
    """Rewrite the note from a thread until the block ends, then remove it."""
    released = threading.Event()
    beat = threading.Thread(
        target=_beat, args=(store, path, owner, released), name="artifact-lease", daemon=True
    )
    beat.start()
    try:
        yield
    finally:
        released.set()
        beat.join()
        filesystem.remove(store.fs, path)


def _beat(store: Store, path: str, owner: str, released: threading.Event) -> None:
    while not released.wait(HEARTBEAT_S):
        try:
            if _taken_over(store, path):
                logger.warning("lost the lease %s; the work continues, publishing is safe", path)
                return
            filesystem.write_bytes(store.fs, path, _new_note(owner).to_bytes())
        except OSError as error:  # the store is away for a moment: the next beat tries again
            logger.warning("no heartbeat for %s: %s", path, error)


def _taken_over(store: Store, path: str) -> bool:
    folder, _, name = path.rpartition("/")
    numbers = _numbers(store, folder)
    return not numbers or numbers[-1] > int(name[:8])
