"""Leases: one builder at a time per artifact, and an end to those that lost theirs.

A builder holds the highest note of the artifact's chain (`lease_chain`) until another one follows.
Who lost its lease is told at its next progress and stopped. What it still writes is in folders of
its own that nobody reads, and it can publish no more, because publishing needs the next number of
the chain, too (`decision`). How a lease is waited for is in `waiting`.
"""

import time
from dataclasses import dataclass, field, replace

from artifacts.identity import ArtifactKey
from artifacts.lease import decision, lease_chain
from artifacts.lease.builder_process import is_dead
from artifacts.lease.lease_chain import NUMBER_DIGITS, Link
from artifacts.store import Store

TIME_TO_LIVE_S = 60.0
"""Time without a heartbeat after which others may take a lease over."""

CONFIRM_S = 5.0
"""A holder looks at the store at most so often: a look at S3 takes 0.1 s, a training step less."""

_SHOWN_AS_DEAD_S = 300.0
"""Silence after which a plan no longer calls an artifact locked. Only shown: the two clocks that
are compared may differ by minutes."""


class LeaseLostError(RuntimeError):
    """Another builder has taken the lease over, and this one has to stop."""


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """Who holds a lease."""

    owner: str
    age_s: float
    """Seconds since its last heartbeat, by two clocks that may differ."""


@dataclass(kw_only=True)
class Lease:
    """A builder's hold on one artifact, from its link in the chain until another one follows."""

    store: Store
    key: ArtifactKey
    number: int
    token: str
    floor: int = 0
    """What was staged up to this number is not used again (`lease_chain.Note`)."""
    confirmed_at: float = field(default_factory=lambda: time.monotonic())

    @property
    def attempt(self) -> str:
        """The unique name of this hold: that of its folders, and all that another process needs."""
        return f"{self.number:0{NUMBER_DIGITS}d}-{self.token}"

    def confirm(self, *, at_once: bool = False) -> None:
        """Look whether this builder still has the lease; by default only from time to time.

        Raises:
            LeaseLostError: It has not.
        """
        now = time.monotonic()
        if at_once or now - self.confirmed_at >= CONFIRM_S:
            link = lease_chain.highest(self.store, self.key)
            if not self._is_mine(link):
                raise self._lost(link)
            self.confirmed_at = now

    def publish(self, record: str) -> None:
        """Decide that the artifact gets this record, if this builder still has the lease.

        Raises:
            LeaseLostError: It has not; then nothing is decided.
        """
        link = lease_chain.highest(self.store, self.key)
        note = link.note
        if note is None or not self._is_mine(link):
            raise self._lost(link)
        is_decided = note.state == "publishing" and note.record == record
        if not is_decided and not decision.decide(self.store, self.key, link, note, record):
            raise self._lost(lease_chain.highest(self.store, self.key))

    def end(self) -> None:
        """Let the next builder begin at once."""
        link = lease_chain.highest(self.store, self.key)
        if self._is_mine(link):
            lease_chain.end(self.store, self.key, link)

    def beat(self) -> None:
        """Give a sign of life."""
        link = lease_chain.highest(self.store, self.key)
        if self._is_mine(link) and link.note is not None and link.note.state == "held":
            note = replace(link.note, beat=link.note.beat + 1, heard_at=time.time())
            lease_chain.rewrite(self.store, self.key, link.number, note)

    def _is_mine(self, link: Link) -> bool:
        return link.note is not None and link.note.token == self.token

    def _lost(self, link: Link) -> LeaseLostError:
        successor = link.note.owner if link.note else "nobody: its note in the store is gone"
        return LeaseLostError(
            f"the lease on {self.key.place} under {self.store.url} was lost to {successor}, "
            f"because this builder gave no sign of life for {TIME_TO_LIVE_S:.0f} s; what it "
            "writes now is not read any more: run again, to use what the other one builds"
        )


def lease_of(store: Store, key: ArtifactKey, attempt: str) -> Lease:
    """Return a lease by the name of its attempt, in any process; the holder keeps it alive."""
    number, _, token = attempt.partition("-")
    return Lease(store=store, key=key, number=int(number), token=token)


def describe_lease(store: Store, key: ArtifactKey) -> LeaseHolder | None:
    """Return who is building an artifact, or None if nobody is or the builder seems dead."""
    note = lease_chain.highest(store, key).note
    if note is None or note.state != "held" or is_dead(note.process):
        return None
    age_s = max(0.0, time.time() - note.heard_at)
    return None if age_s > _SHOWN_AS_DEAD_S else LeaseHolder(note.owner, age_s)
