"""A lease has one holder, ends with it, and is taken over from a dead one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from artifacts import filesystem
from artifacts.identity import Reference
from artifacts.lease import lease, lease_chain, waiting
from artifacts.lease.builder_process import is_dead, this_process
from artifacts.lease.lease import LeaseLostError, describe_lease
from artifacts.lease.lease_chain import Link
from artifacts.lease.waiting import wait_for_lease
from artifacts.store import hidden_path, open_store

if TYPE_CHECKING:
    from artifacts.store import Store
    from tests.artifacts.conftest import OpenStore, Steps

KEY = Reference("encode", "ab" * 32, "")
OTHER = Reference("encode", "cd" * 32, "")

HOLDER = """
import sys, time
from artifacts.identity import Reference
from artifacts.store import open_store
from artifacts.lease.waiting import wait_for_lease
key = Reference("encode", "ab" * 32, "")
with wait_for_lease(open_store(sys.argv[1]), key, owner="first"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "POLL_S", 0.01)


def _change_notes(store: Store, **values: object) -> None:
    """Change what the notes in the store say."""
    folder = hidden_path(store, "leases", KEY)
    for name in filesystem.names_in(store.fs, folder):
        note = json.loads(filesystem.read_bytes(store.fs, f"{folder}/{name}"))
        filesystem.write_bytes(store.fs, f"{folder}/{name}", json.dumps(note | values).encode())


def _silence(store: Store) -> None:
    """Let others take the holder for dead as soon as they have looked twice."""
    _change_notes(store, time_to_live_s=0.0)


def _holder(store: Store) -> str:
    """Return who holds the lease; empty if nobody does."""
    holder = describe_lease(store, KEY)
    return holder.owner if holder else ""


def _hold(store: Store, owner: str, order: list[str]) -> None:
    """Wait for the lease, and note who got it."""
    with wait_for_lease(store, KEY, owner=owner):
        order.append(owner)


def test_second_builder_waits_until_the_first_ends(open_again: OpenStore) -> None:
    """A waiting builder gets the lease after the holder; another artifact is free all the time."""
    order: list[str] = []
    second = threading.Thread(target=_hold, args=(open_again(), "second", order))
    with wait_for_lease(open_again(), KEY, owner="first"):
        second.start()
        with wait_for_lease(open_again(), OTHER, owner="second"):
            second.join(0.2)
        assert _holder(open_again()) == "first"
        order.append("first")
    second.join(30)
    assert order == ["first", "second"]
    assert _holder(open_again()) == ""


def test_failure_in_the_block_ends_the_lease(store: Store) -> None:
    """A builder that fails does not lock the artifact."""
    with pytest.raises(KeyError), wait_for_lease(store, KEY, owner="first"):
        raise KeyError
    assert _holder(store) == ""


def test_one_of_many_at_a_time_has_the_lease(open_again: OpenStore) -> None:
    """Of eight that ask at the same moment one succeeds, and the others one after the other."""
    start = threading.Barrier(8)
    inside: list[int] = []
    most: list[int] = []

    def build(number: int) -> None:
        store = open_again()
        start.wait(30)
        with wait_for_lease(store, KEY, owner=f"owner {number}"):
            inside.append(number)
            time.sleep(0.02)
            most.append(len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(build, range(8)))
    assert most == [1] * 8


def test_silent_holder_is_replaced_by_one(open_again: OpenStore) -> None:
    """After the time to live a successor takes over, and a third builder waits for that one."""
    store = open_again()
    order: list[str] = []
    third = threading.Thread(target=_hold, args=(open_again(), "third", order))
    with wait_for_lease(store, KEY, owner="dead"):
        _silence(store)
        with wait_for_lease(open_again(), KEY, owner="successor"):
            assert _holder(store) == "successor"
            third.start()
            third.join(0.2)
            order.append("successor")
        third.join(30)
    assert order == ["successor", "third"]


def test_old_holder_that_wakes_up_leaves_the_successor_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a heartbeat nor the end of a holder that was paused changes who has the lease."""
    monkeypatch.setattr(waiting, "HEARTBEAT_S", 0.4)
    with ExitStack() as later:
        with wait_for_lease(store, KEY, owner="old"):
            _silence(store)
            later.enter_context(wait_for_lease(store, KEY, owner="new"))
            time.sleep(0.6)
            assert _holder(store) == "new"
        assert _holder(store) == "new"


def test_heartbeat_renews_the_lease(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder is heard of again and again while it works."""
    monkeypatch.setattr(waiting, "HEARTBEAT_S", 0.05)
    with wait_for_lease(store, KEY, owner="me"):
        _change_notes(store, heard_at=time.time() - 50)
        deadline = time.monotonic() + 20
        while _age_s(store) > 10 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert _age_s(store) < 10


def _age_s(store: Store) -> float:
    holder = describe_lease(store, KEY)
    return holder.age_s if holder else 1e9


def test_same_owner_takes_its_lease_up_again(store: Store) -> None:
    """A run that was restarted need not wait for its own earlier life to expire."""
    with (
        wait_for_lease(store, KEY, owner="run 1"),
        wait_for_lease(store, KEY, owner="run 1"),
    ):
        pass


def test_lease_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    """SIGKILL of the builder frees its artifact; on its own machine nobody waits for a time-out."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "store")]
    store = open_store(tmp_path / "store")
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert _holder(store) == "first"
        holder.kill()
    assert _holder(store) == ""
    began_at = time.monotonic()
    with wait_for_lease(store, KEY, owner="second"):
        assert _holder(store) == "second"
    assert time.monotonic() - began_at < 10 < lease.TIME_TO_LIVE_S


@pytest.mark.parametrize("skew_s", [-90.0, 90.0])
def test_clocks_that_differ_take_no_lease_away(store: Store, skew_s: float) -> None:
    """A holder whose clock is wrong by 90 seconds keeps its lease, and loses it when silent."""
    order: list[str] = []
    second = threading.Thread(target=_hold, args=(store, "second", order))
    with wait_for_lease(store, KEY, owner="first"):
        _change_notes(store, heard_at=time.time() + skew_s)
        second.start()
        second.join(0.3)
        assert (order, _holder(store)) == ([], "first")
        assert _age_s(store) >= 0
        _silence(store)
        second.join(30)
        assert order == ["second"]


def test_holder_that_lost_its_lease_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its next progress, and when it wants to publish."""
    monkeypatch.setattr(lease, "CONFIRM_S", 0.0)
    with wait_for_lease(store, KEY, owner="old") as old:
        old.confirm()
        _silence(store)
        with wait_for_lease(store, KEY, owner="new"):
            with pytest.raises(LeaseLostError, match=r"encode/abab\w+ under .* was lost to new"):
                old.confirm()
            with pytest.raises(LeaseLostError, match="was lost to new"):
                old.publish("{}")


def test_failure_after_the_lease_was_lost_is_the_cause(store: Store) -> None:
    """Also where the builder looked a moment ago whether it has the lease."""
    with pytest.raises(LeaseLostError) as caught:
        _fail_after_losing(store)
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def _fail_after_losing(store: Store) -> None:
    with wait_for_lease(store, KEY, owner="old"):
        _silence(store)
        with wait_for_lease(store, KEY, owner="new"):
            pass
        raise FileNotFoundError("checkpoint")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Give a clock that only sleep and the test itself move."""
    clock = SimpleNamespace(now_s=1000.0)

    def sleep(seconds: float) -> None:
        clock.now_s += seconds

    stopped = SimpleNamespace(monotonic=lambda: clock.now_s, time=lambda: clock.now_s, sleep=sleep)
    for module in (lease, waiting):
        monkeypatch.setattr(module, "time", stopped)
    return clock


def test_holder_looks_at_the_store_from_time_to_time(
    steps: Steps, open_again: OpenStore, clock: SimpleNamespace
) -> None:
    """Not before `CONFIRM_S` are over, and then as long not again."""
    with ExitStack() as later:
        held = later.enter_context(wait_for_lease(steps.store, KEY, owner="me"))
        steps.watch(-1, lambda: None, looks_count=True)
        for passed_s, looks in [(0.0, False), (4.9, False), (0.1, True), (4.9, False), (9.0, True)]:
            clock.now_s += passed_s
            before = steps.count
            held.confirm()
            assert (steps.count > before) == looks
        steps.end()
        _silence(open_again())
        clock.now_s += 1.0
        later.enter_context(wait_for_lease(open_again(), KEY, owner="other"))
        held.confirm()  # a moment ago it still had the lease
        with pytest.raises(LeaseLostError):
            held.confirm(at_once=True)


def test_time_without_a_sign_of_life_begins_anew_with_each(
    store: Store, clock: SimpleNamespace
) -> None:
    """A holder may hold for longer than the time to live, as long as it is heard of."""
    waiter = waiting._Wait(store, KEY, "waiter")
    with wait_for_lease(store, KEY, owner="first") as held:
        for _ in range(3):
            assert waiter.attempt() is None
            clock.now_s += 50.0
            assert waiter.attempt() is None
            held.beat()
        assert waiter.attempt() is None
        clock.now_s += 60.5
        assert waiter.attempt() is not None


def test_old_holder_gives_no_sign_of_life_for_another(store: Store) -> None:
    """Else a dead successor would never be replaced; nor does one for itself after the end."""
    with wait_for_lease(store, KEY, owner="old") as old:
        _silence(store)
        with wait_for_lease(store, KEY, owner="new") as new:
            before = lease_chain.highest(store, KEY)
            old.beat()
            assert lease_chain.highest(store, KEY) == before
        before = lease_chain.highest(store, KEY)
        new.beat()
        assert lease_chain.highest(store, KEY) == before


def test_late_sign_of_life_does_not_undo_the_end(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease ends only when a sign of life that is on its way has arrived."""
    monkeypatch.setattr(waiting, "HEARTBEAT_S", 0.05)
    on_its_way = threading.Event()

    def hesitate() -> None:
        on_its_way.set()
        time.sleep(0.2)

    with wait_for_lease(steps.store, KEY, owner="me"):
        steps.watch(1, hesitate)
        assert on_its_way.wait(30)
    steps.end()
    for thread in threading.enumerate():
        if thread.name == "artifact-lease":
            thread.join()
    assert _holder(steps.store) == ""


def test_waiting_builder_says_for_whom_and_how_long(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """One line at once, and not one per look."""
    second = threading.Thread(target=_hold, args=(store, "second", []))
    with wait_for_lease(store, KEY, owner="host:1:run"):
        second.start()
        second.join(0.2)
    second.join(30)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("waiting for host:1:run, which builds encode/abababababababab (for 0 s")
    assert line.endswith("it is replaced in 60 s")


def test_number_is_never_used_twice(store: Store) -> None:
    """Numbers grow over all holders, so that one that slept for ever does not meet its own."""
    numbers = []
    for owner in ("a", "b", "c"):
        with wait_for_lease(store, KEY, owner=owner) as held:
            numbers.append(held.number)
    assert numbers == [1, 2, 3]
    assert lease_chain.highest(store, KEY).number == 3
    # One more than the highest stays, so that who lists while the next one begins finds one.
    left = filesystem.names_in(store.fs, hidden_path(store, "leases", KEY))
    assert sorted(left) == ["00000002.json", "00000003.json"]
    # Who was paused before it created its number finds that it is long past, and leaves no trace.
    note = lease_chain.highest(store, KEY).note
    assert note is not None
    assert not lease_chain.append(store, KEY, Link(0, None), replace(note, token="late"))
    assert filesystem.names_in(store.fs, hidden_path(store, "leases", KEY)) == left


def test_process_that_cannot_be_looked_up_is_not_dead() -> None:
    """Another machine, another boot or another container has processes of the same numbers."""
    this = this_process()
    assert not is_dead(this)
    for elsewhere in ("", "other boot pid:[1]"):
        assert not is_dead(replace(this, boot=elsewhere, started="1"))
    assert not is_dead(replace(this, pid=-1))
    assert not is_dead(replace(this, pid=0))
    assert not is_dead(replace(this, started=""))


def test_other_process_of_the_same_number_is_not_the_builder() -> None:
    """Numbers are used again; the start time tells them apart."""
    if not this_process().boot:
        pytest.skip("the start time of a process is known from /proc only")
    assert is_dead(replace(this_process(), started="1"))
    with subprocess.Popen([sys.executable, "-c", "pass"]) as child:
        named = replace(this_process(), pid=child.pid, started="")
    assert is_dead(named)
    assert is_dead(replace(named, pid=1, started="1" * 30))


def test_process_that_ended_and_was_not_waited_for_is_dead() -> None:
    """Its number is in use until its parent asks how it ended."""
    if not this_process().boot:
        pytest.skip("the start time of a process is known from /proc only")
    with subprocess.Popen([sys.executable, "-c", "pass"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert is_dead(replace(this_process(), pid=child.pid, started=""))


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]"])
def test_damaged_note_frees_the_lease(store: Store, damage: bytes) -> None:
    """A note that cannot be read holds nobody up."""
    filesystem.write_bytes(store.fs, f"{hidden_path(store, 'leases', KEY)}/00000007.json", damage)
    with wait_for_lease(store, KEY, owner="me"):
        assert _holder(store) == "me"


def test_late_heartbeat_does_not_lose_the_lease() -> None:
    """Two heartbeats fit well into the time to live."""
    assert 2 * waiting.HEARTBEAT_S < lease.TIME_TO_LIVE_S
