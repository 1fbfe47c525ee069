"""Leases: one builder at a time per artifact, as a courtesy.

A lease saves double work; correctness never depends on it, since publishing is exclusive by itself.
It is a numbered file that the holder rewrites on every heartbeat. Who finds the highest number
expired creates the next one, exclusively: so two that take over at the same moment cannot both
succeed, and nothing has to be deleted first.
"""

import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from artifacts import filesystem
from artifacts.store import Store, hidden_path

logger = logging.getLogger(__name__)

_NAME = re.compile(r"\d{8}\.json")


class LeaseHeldError(RuntimeError):
    """Another owner is building this artifact and was heard of recently."""

    def __init__(self, owner: str, age_s: float, place: str) -> None:
        """Name who holds it and when it was last heard of."""
        super().__init__(owner, age_s, place)  # all of them, so that it can be pickled
        self.owner = owner
        self.age_s = age_s
        self.place = place

    def __str__(self) -> str:
        return (
            f"{self.place} is being built by {self.owner}, last heard of {self.age_s:.0f} s ago; "
            "wait for it, or end that run"
        )


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
    """Makes every note unique, as exclusive creation asks for."""

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @property
    def age_s(self) -> float:
        return max(0.0, time.time() - self.heartbeat_at)

    @property
    def expired(self) -> bool:
        return self.age_s > self.time_to_live_s


def describe_lease(store: Store, stage: str, fingerprint: str) -> LeaseHolder | None:
    """Return who is building an artifact, or None if nobody is or the builder died."""
    folder = hidden_path(store, "leases", stage, fingerprint)
    _, note = _newest(store, folder)
    return None if note is None or note.expired else LeaseHolder(note.owner, note.age_s)


@contextmanager
def hold_lease(
    store: Store,
    stage: str,
    fingerprint: str,
    *,
    owner: str,
    time_to_live_s: float = 60.0,
    heartbeat_s: float = 15.0,
) -> Iterator[None]:
    """Hold the lease on an artifact for the time of the with block.

    Args:
        store: Where.
        stage: Stage of the artifact.
        fingerprint: All 64 digits.
        owner: Unique name of the builder, shown to others (host, process, flow run).
        time_to_live_s: Silence after which others may take over.
        heartbeat_s: Time between signs of life.

    Raises:
        LeaseHeldError: Another owner was heard of within its time to live.
        ValueError: The heartbeat is longer than half of the time to live.
    """
    _check_times(time_to_live_s, heartbeat_s)
    path = _acquire(store, stage, fingerprint, owner, time_to_live_s)
    with _kept_alive(store, path, owner, time_to_live_s, heartbeat_s):
        yield


@contextmanager
def wait_for_lease(
    store: Store,
    stage: str,
    fingerprint: str,
    *,
    owner: str,
    time_to_live_s: float = 60.0,
    heartbeat_s: float = 15.0,
    poll_s: float = 1.0,
    on_wait: Callable[[LeaseHeldError], None] | None = None,
) -> Iterator[None]:
    """Hold the lease like `hold_lease`, after waiting for its holder to finish or to die.

    The artifact may be there by then: check again inside. `on_wait` is called before every wait,
    and may raise to give up.
    """
    _check_times(time_to_live_s, heartbeat_s)
    while True:
        try:
            path = _acquire(store, stage, fingerprint, owner, time_to_live_s)
            break
        except LeaseHeldError as error:
            if on_wait:
                on_wait(error)
            time.sleep(poll_s)
    with _kept_alive(store, path, owner, time_to_live_s, heartbeat_s):
        yield


def _check_times(time_to_live_s: float, heartbeat_s: float) -> None:
    if not 0 < heartbeat_s <= time_to_live_s / 2:
        raise ValueError(
            f"heartbeat_s ({heartbeat_s}) must be above 0 and at most half of time_to_live_s "
            f"({time_to_live_s}), so that one late sign of life does not lose the lease"
        )


def _acquire(store: Store, stage: str, fingerprint: str, owner: str, time_to_live_s: float) -> str:
    """Create the next number and return its path."""
    folder = hidden_path(store, "leases", stage, fingerprint)
    number, note = _newest(store, folder)
    if note is None or note.expired or note.owner == owner:
        path = _numbered(folder, number + 1)
        mine = _Note(owner, time.time(), time_to_live_s, uuid.uuid4().hex)
        if filesystem.create_exclusive(store.fs, path, mine.to_bytes()):
            _remove_older(store, folder, number + 1)
            return path
        _, note = _newest(store, folder)
    holder = (note.owner, note.age_s) if note else ("another builder", 0.0)
    raise LeaseHeldError(*holder, place=f"{stage}/{fingerprint[:16]} under {store.url}")


def _numbered(folder: str, number: int) -> str:
    return f"{folder}/{number:08d}.json"


def _numbers(store: Store, folder: str) -> list[int]:
    names = filesystem.names_in(store.fs, folder)
    return sorted(int(name[:8]) for name in names if _NAME.fullmatch(name))


def _newest(store: Store, folder: str) -> tuple[int, _Note | None]:
    """Return the highest number and its note; 0 and None if there is none."""
    numbers = _numbers(store, folder)
    if not numbers:
        return 0, None
    try:
        data = filesystem.read_bytes(store.fs, _numbered(folder, numbers[-1]))
        return numbers[-1], _Note(**json.loads(data))
    except (FileNotFoundError, ValueError, TypeError):
        return numbers[-1], None  # released this moment, or damaged: free either way


def _remove_older(store: Store, folder: str, number: int) -> None:
    for older in _numbers(store, folder):
        if older < number:
            filesystem.remove(store.fs, _numbered(folder, older))


@contextmanager
def _kept_alive(
    store: Store, path: str, owner: str, time_to_live_s: float, heartbeat_s: float
) -> Iterator[None]:
    """Rewrite the note from a thread until the block ends, then remove it."""
    released = threading.Event()

    def beat() -> None:
        while not released.wait(heartbeat_s):
            try:
                if _taken_over(store, path):
                    logger.warning("lost the lease %s; going on, publishing stays safe", path)
                    return
                note = _Note(owner, time.time(), time_to_live_s, uuid.uuid4().hex)
                filesystem.write_bytes(store.fs, path, note.to_bytes())
            except OSError as error:  # the store is away for a moment: the next beat tries again
                logger.warning("no heartbeat for %s: %s", path, error)

    thread = threading.Thread(target=beat, name="artifact-lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        released.set()
        thread.join()
        filesystem.remove(store.fs, path)


def _taken_over(store: Store, path: str) -> bool:
    folder, _, name = path.rpartition("/")
    numbers = _numbers(store, folder)
    return not numbers or numbers[-1] > int(name[:8])
