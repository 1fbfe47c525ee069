"""Builders of one artifact in every order of their steps, each of which may be the last one.

Some steps go wrong: the answer to a request gets lost, or a write that was acknowledged. What is
published is complete and from one builder, it never changes, nobody reads what a builder
wrote after its successor had begun, and from every state somebody can go on.
"""

from __future__ import annotations

import json
import random
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from artifacts import filesystem, patience
from artifacts.building.handover import take_over
from artifacts.building.mirror import mirror_files, restore_newest
from artifacts.building.publishing import publish
from artifacts.building.staging import add_part, staged_parts
from artifacts.lease import lease, waiting
from artifacts.lease.lease import LeaseLostError
from artifacts.published.checking import check
from artifacts.record import BuildFacts, Record
from artifacts.store import Store, record_path
from tests.artifacts.bucket import Bucket
from tests.artifacts.conftest import identity_of
from tests.artifacts.scheduler import (
    Builder,
    Fault,
    SteppedFilesystem,
    explore,
    finish,
    forget,
    no_fault,
    sample,
    start,
    this_builder,
)

NUM_STATES, NUM_ORDERS = 5_000, 150
"""How much the slow tests explore: a minute or two. Raise them for a search of hours."""

KEY = identity_of()
OWN = ("a", "b")
"""Files that differ from builder to builder, so that a mixture would be seen."""

ALL = (*OWN, "mirror", "ranges")
"""What a builder makes: also a mirror of its work, and a file that is the same for all."""


def _is_quiet(call: str, path: str) -> bool:
    """Tell the calls that need no stop of their own, so that there are fewer orders.

    Nobody else can see data without a note, or files without a record. What a builder reads in its
    own folder only its successor changes, by removing it as a whole. A note of a lease is read in
    the moment after it was listed.
    """
    if call == "cat_file" and "/.leases/" in path:
        return True
    if "/data/" in path or "/attempt-" in path or "/.checked/" in path:
        return True
    builder = this_builder()
    is_own = builder is not None and f"-{builder.token}" in path
    return "/.staging/" in path and (call == "rm_file" or (is_own and call in _READS))


_READS = {"cat_file", "exists", "find", "info", "ls"}


class _SerialPool:
    """Makes the calls of a pool one after the other, in the caller's thread."""

    def __init__(self, _: int) -> None:
        pass

    def __enter__(self) -> _SerialPool:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, call: Callable[..., Any], *arguments: Iterable[Any]) -> list[Any]:
        return list(map(call, *arguments))


@pytest.fixture(autouse=True)
def _deterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each builder its own clock, which only its own waiting moves, and its own ids."""
    real_id, real_attempt = uuid.uuid4, waiting._Wait.attempt

    def new_id() -> uuid.UUID:
        builder = this_builder()
        if builder is None:
            return real_id()
        builder.num_ids += 1
        return uuid.uuid5(uuid.NAMESPACE_OID, f"{builder.name} {builder.num_ids}")

    def sleep(_: float) -> None:
        if builder := this_builder():
            builder.seconds += 2 * lease.TIME_TO_LIVE_S

    def attempt(wait: Any) -> lease.Lease | None:
        held = real_attempt(wait)
        forget("waits", wait._sign, monotonic() - wait._since)
        return held

    def monotonic() -> float:
        builder = this_builder()
        return builder.seconds if builder else 0.0

    clock = SimpleNamespace(sleep=sleep, monotonic=monotonic, time=lambda: 0.0)
    monkeypatch.setattr(uuid, "uuid4", new_id)
    monkeypatch.setattr(waiting._Wait, "attempt", attempt)
    monkeypatch.setattr(patience, "time", SimpleNamespace(sleep=lambda _: None))
    for module in (lease, waiting):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(lease, "CONFIRM_S", 0.0)
    monkeypatch.setattr(waiting, "HEARTBEAT_S", threading.TIMEOUT_MAX)
    monkeypatch.setattr(waiting._Wait, "_tell", lambda *_: None)
    monkeypatch.setattr(filesystem, "ThreadPoolExecutor", _SerialPool)


def _store(fs: Any, machine: Path) -> Store:
    return Store(url="bucket://s", fs=fs, root="s", cache_dir=machine)


def _build(
    bucket: Bucket,
    folder: Path,
    name: str,
    parts: Sequence[str] = ALL,
    fault: Fault = no_fault,
) -> Record:
    """Do what a stage does: wait, look, take over, work on, stage, publish."""
    fs = patience.PatientFilesystem(SteppedFilesystem(bucket, _is_quiet, fault))
    store = _store(fs, folder / name)
    with waiting.wait_for_lease(store, KEY, owner=name) as held:
        if builder := this_builder():
            builder.token = held.token
        forget("has the lease", held.attempt)
        found = check(store, KEY)
        if found.status == "hit" and found.record is not None:
            return found.record
        forget("found nothing", held.attempt)
        staging = take_over(held)
        forget("has taken over", held.attempt, restore_newest(staging))
        held.beat()
        forget("works", held.attempt)
        if "mirror" in parts:
            work = folder / f"{name}-work"
            work.write_text(held.attempt)
            mirror_files(staging, "00000001", {"work": work})
        forget("stages", held.attempt)
        for part in sorted(set(parts) - {"mirror"} - (staged_parts(staging).keys() - set(OWN))):
            path = folder / f"{name}-{part}"
            path.write_text("counted" if part == "ranges" else held.attempt)
            add_part(staging, path, part, replace=part in OWN)
        forget("publishes", held.attempt, sorted(staging.promised))
        return publish(staging, KEY, BuildFacts())


class _World:
    """The store that the builders share, made anew for each path."""

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        parts: Sequence[str] = ALL,
        fault: Callable[[], Fault] = lambda: no_fault,
    ) -> None:
        self.folder, self.names, self.parts, self.fault = folder, names, parts, fault
        self.bucket = Bucket()
        self._examined: set[int] = set()

    def begin(self) -> list[Builder]:
        self.bucket = Bucket()
        return [
            start(name, partial(_build, self.bucket, self.folder, name, self.parts, self.fault()))
            for name in self.names
        ]

    def content(self) -> dict[str, bytes]:
        return self.bucket.content

    def examine(self, builders: Sequence[Builder]) -> None:
        assert self.bucket.violations == []
        record = _assert_whole(self.bucket)
        assert record is None or set(record.file_names) == set(self.parts) - {"mirror"}
        for builder in builders:
            assert builder.error is None or isinstance(builder.error, LeaseLostError), builder.error
            assert builder.result is None or builder.result == record
        world = hash(frozenset(self.bucket.content.items()))
        if world not in self._examined:
            self._examined.add(world)
            self._assert_somebody_can_go_on(record)

    def _assert_somebody_can_go_on(self, record: Record | None) -> None:
        later = Bucket(self.bucket.content)
        later.late, later.derived = set(self.bucket.late), set(self.bucket.derived)
        rescuer = start("rescuer", partial(_build, later, self.folder, "rescuer", self.parts))
        finish(rescuer)
        assert rescuer.error is None, rescuer.error
        assert isinstance(rescuer.result, Record)
        assert record in (None, rescuer.result)
        assert _assert_whole(later) == rescuer.result
        assert later.violations == []


def _assert_whole(bucket: Bucket) -> Record | None:
    """Return the published record; its files are there, and those that differ are one builder's."""
    store = _store(bucket, Path())
    data = bucket.content.get(record_path(store, KEY))
    if data is None:
        return None
    record = Record.from_json(json.loads(data))
    folder = f"s/{record.place}/{record.folder}"
    files = {entry.name: bucket.content[f"{folder}/{entry.name}"] for entry in record.files}
    assert files.get("ranges", b"counted") == b"counted"
    assert len({files[name] for name in OWN if name in files}) == 1
    return record


@pytest.mark.parametrize("names", [["one", "two"], ["one", "two", "three"]], ids=len)
def test_some_orders_of_the_steps_of_builders(tmp_path: Path, names: list[str]) -> None:
    """A selection of what the slow tests explore."""
    world = _World(tmp_path, names)
    explored = sample(world.begin, world.examine, num_paths=10, seed=len(names))
    assert explored.num_steps > 10 * 20 * len(names)


_WRITES = {"pipe_file", "put_file", "cp_file", "rm_file"}


@pytest.mark.parametrize("kind", ["answer lost", "lost"])
def test_nobody_loses_a_lease_to_itself(tmp_path: Path, kind: str) -> None:
    """A builder that is alone publishes, whichever of its requests goes wrong."""
    for at in range(1000):
        seen: list[str] = []

        def fault(call: str, number: int, at: int = at, seen: list[str] = seen) -> str:
            is_hit = number == at and (kind == "answer lost" or call in _WRITES)
            seen.append(call)
            return kind if is_hit else ""

        bucket = Bucket()
        builder = start("alone", partial(_build, bucket, tmp_path, "alone", ALL, fault))
        finish(builder)
        assert isinstance(builder.result, Record), (at, seen[at], builder.error)
        assert _assert_whole(bucket) == builder.result
        if len(seen) <= at:
            return
    pytest.fail("a builder made a thousand requests")


@pytest.mark.parametrize("names", [["one", "two"], ["one", "two", "three"]], ids=len)
def test_some_orders_of_steps_that_go_wrong(tmp_path: Path, names: list[str]) -> None:
    """One request in eight, of a kind that both sides may take for the other one's."""
    world = _World(tmp_path, names, fault=partial(_some_faults, random.Random(len(names))))
    sample(world.begin, world.examine, num_paths=10, seed=len(names))


def _some_faults(draw: random.Random) -> Fault:
    path = random.Random(draw.random())

    def fault(call: str, number: int) -> str:
        kind = path.choice(["answer lost", "lost" if call in _WRITES else "answer lost"])
        return kind if path.random() < 1 / 8 else ""

    return fault


@pytest.mark.slow
def test_orders_of_the_steps_of_two_builders_state_by_state(tmp_path: Path) -> None:
    """All orders, up to a limit; from each state, as if both had died, a third one goes on."""
    world = _World(tmp_path, ["one", "two"], ["a"])
    explored = explore(world.begin, world.content, world.examine, max_states=NUM_STATES)
    assert explored.is_complete or explored.num_states >= NUM_STATES


@pytest.mark.slow
def test_many_orders_of_the_steps_of_three_builders(tmp_path: Path) -> None:
    """All orders of three are too many."""
    world = _World(tmp_path, ["one", "two", "three"])
    sample(world.begin, world.examine, num_paths=NUM_ORDERS, seed=0)


@pytest.mark.slow
def test_many_orders_of_steps_that_go_wrong(tmp_path: Path) -> None:
    """Of two builders, and of three."""
    for names in (["one", "two"], ["one", "two", "three"]):
        world = _World(tmp_path, names, fault=partial(_some_faults, random.Random(0)))
        sample(world.begin, world.examine, num_paths=NUM_ORDERS, seed=0)
