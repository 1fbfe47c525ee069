"""Waiting for a lease, holding it, and noticing that a holder is dead.

A waiting builder watches whether the holder's note changes. If it does not change for the time to
live, measured by the waiter's own clock, the holder is taken for dead. No two clocks are compared.
A dead process on the same machine is noticed at once.
"""

import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from artifacts import filesystem
from artifacts.identity import ArtifactKey
from artifacts.lease import decision, lease, lease_chain
from artifacts.lease.builder_process import is_dead, this_process
from artifacts.lease.lease import Lease, LeaseLostError
from artifacts.lease.lease_chain import Link, Note
from artifacts.store import Store

logger = logging.getLogger(__name__)

HEARTBEAT_S = 15.0
"""Time between two heartbeats. Below half the time to live, so that a late one loses nothing."""

POLL_S = 1.0
"""Time between two attempts of a builder that waits for a lease."""

TELL_S = 30.0
"""Time between two messages of a builder that waits."""


@contextmanager
def wait_for_lease(store: Store, key: ArtifactKey, *, owner: str) -> Iterator[Lease]:
    """Hold the lease on an artifact during the with block, after waiting for it.

    It waits until the holder ends or dies, and logs for whom. The artifact may be there by then:
    check again inside. An exception that leaves the block of a builder that lost its lease is the
    `cause` of a LeaseLostError.

    Args:
        store: The store that the artifact will be in.
        key: The artifact.
        owner: Unique name of the builder, shown to others (host, process, flow run). Who asks again
            under the same name need not wait for its own earlier lease.
    """
    wait = _Wait(store, key, owner)
    with filesystem.storage_explained(store.url):
        while (held := wait.attempt()) is None:
            time.sleep(POLL_S)
    with _kept_alive(held):
        try:
            yield held
        except LeaseLostError:
            raise
        except Exception as error:
            with suppress(OSError):  # the store may be what failed
                _raise_if_lost(held, error)
            raise


def _raise_if_lost(held: Lease, error: Exception) -> None:
    try:
        held.confirm(at_once=True)
    except LeaseLostError as lost:
        raise lost from error


class _Wait:
    """What a waiting builder has seen of the holder so far."""

    def __init__(self, store: Store, key: ArtifactKey, owner: str) -> None:
        self._store, self._key, self._owner = store, key, owner
        self._sign: tuple[int, str, int] | None = None
        """The holder's last sign of life: number, token, beat."""
        self._since = self._began_at = time.monotonic()
        self._told_at = float("-inf")

    def attempt(self) -> Lease | None:
        """Take the lease if it is free, and return it."""
        link = lease_chain.highest(self._store, self._key)
        if link.note is not None and link.note.state == "publishing":
            decision.complete(self._store, self._key, link)
        if link.note is not None and link.note.state == "held" and self._must_wait(link):
            self._tell(link.note)
            return None
        note = Note(
            owner=self._owner,
            token=uuid.uuid4().hex[:16],
            process=this_process(),
            heard_at=time.time(),
            time_to_live_s=lease.TIME_TO_LIVE_S,
            floor=lease_chain.floor_after(link),
        )
        if not lease_chain.append(self._store, self._key, link, note):
            return None
        return Lease(
            store=self._store,
            key=self._key,
            number=link.number + 1,
            token=note.token,
            floor=note.floor,
        )

    def _must_wait(self, link: Link) -> bool:
        note = link.note
        assert note is not None
        now, sign = time.monotonic(), (link.number, note.token, note.beat)
        if sign != self._sign:
            self._sign, self._since = sign, now
        is_silent = now - self._since > note.time_to_live_s
        return not (is_silent or note.owner == self._owner or is_dead(note.process))

    def _tell(self, note: Note) -> None:
        now = time.monotonic()
        if now - self._told_at < TELL_S:
            return
        self._told_at = now
        logger.warning(
            "waiting for %s, which builds %s (for %.0f s so far); without a sign of life it is "
            "replaced in %.0f s",
            note.owner,
            self._key.place,
            now - self._began_at,
            max(0.0, note.time_to_live_s - (now - self._since)),
        )


@contextmanager
def _kept_alive(held: Lease) -> Iterator[None]:
    """Give signs of life from a thread until the block ends, then end the lease."""
    released = threading.Event()
    beat = threading.Thread(target=_beat, args=(held, released), name="artifact-lease", daemon=True)
    beat.start()
    try:
        yield
    finally:
        released.set()
        beat.join()
        try:
            held.end()
        except OSError as error:  # the work is done; others find the lease silent
            logger.warning("the lease on %s stays until it expires: %s", held.key.place, error)


def _beat(held: Lease, released: threading.Event) -> None:
    while not released.wait(HEARTBEAT_S):
        try:
            held.beat()
        except Exception as error:  # the store is away for a moment: the next beat tries again
            logger.warning("no sign of life for %s: %s", held.key.place, error)
