"""A lease has one holder, ends with it, and is taken over from a dead one."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from artifacts import filesystem, lease
from artifacts.identity import Reference
from artifacts.lease import describe_lease, wait_for_lease
from artifacts.store import hidden_path, open_store

if TYPE_CHECKING:
    from artifacts.store import Store
    from tests.artifacts.conftest import OpenStore

KEY = Reference("encode", "ab" * 32, "")
OTHER = Reference("encode", "cd" * 32, "")

HOLDER = """
import sys, time
from artifacts import lease
from artifacts.identity import Reference
from artifacts.store import open_store
lease.TIME_TO_LIVE_S, lease.HEARTBEAT_S = 3.0, 0.1
key = Reference("encode", "ab" * 32, "")
with lease.wait_for_lease(open_store(sys.argv[1]), key, owner="first"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "POLL_S", 0.01)


def _age_all_notes(store: Store, seconds: float) -> None:
    """Make the notes as old as if their holder had been silent for so long."""
    folder = hidden_path(store, "leases", KEY)
    for name in filesystem.names_in(store.fs, folder):
        note = json.loads(filesystem.read_bytes(store.fs, f"{folder}/{name}"))
        note["heartbeat_at"] -= seconds
        filesystem.write_bytes(store.fs, f"{folder}/{name}", json.dumps(note).encode())


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
        _age_all_notes(store, 61)
        assert _holder(store) == ""
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
    """A holder that was paused notices at its next heartbeat, and its end frees nothing."""
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.4)
    with ExitStack() as later:
        with wait_for_lease(store, KEY, owner="old"):
            _age_all_notes(store, 61)
            later.enter_context(wait_for_lease(store, KEY, owner="new"))
            time.sleep(0.6)
            assert _holder(store) == "new"
        assert _holder(store) == "new"


def test_heartbeat_renews_the_lease(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder is heard of again and again while it works."""
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.05)
    with wait_for_lease(store, KEY, owner="me"):
        _age_all_notes(store, 50)
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


def test_lease_of_a_killed_process_expires(tmp_path: Path) -> None:
    """SIGKILL of the builder frees its artifact after the time to live."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "store")]
    store = open_store(tmp_path / "store")
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert _holder(store) == "first"
        holder.kill()
    with wait_for_lease(store, KEY, owner="second"):
        assert _holder(store) == "second"


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]"])
def test_damaged_note_frees_the_lease(store: Store, damage: bytes) -> None:
    """A note that cannot be read holds nobody up."""
    filesystem.write_bytes(store.fs, f"{hidden_path(store, 'leases', KEY)}/00000007.json", damage)
    with wait_for_lease(store, KEY, owner="me"):
        assert _holder(store) == "me"


def test_late_heartbeat_does_not_lose_the_lease() -> None:
    """Two heartbeats fit well into the time to live."""
    assert 2 * lease.HEARTBEAT_S < lease.TIME_TO_LIVE_S
