"""A lease has one holder, ends with it, and is taken over from a dead one."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from artifacts import filesystem
from artifacts.lease import LeaseHeldError, describe_lease, hold_lease, wait_for_lease
from artifacts.store import open_store

if TYPE_CHECKING:
    from artifacts.store import Store
    from tests.artifacts.conftest import OpenStore

KEY = "ab" * 32

HOLDER = """
import sys, time
from artifacts.lease import hold_lease
from artifacts.store import open_store
with hold_lease(open_store(sys.argv[1]), "encode", "ab" * 32, owner="first", time_to_live_s=3,
                heartbeat_s=0.1):
    print("held", flush=True)
    time.sleep(60)
"""


def _age_all_notes(store: Store, seconds: float) -> None:
    """Make the notes as old as if their holder had been silent for so long."""
    folder = f"{store.root}/.leases/encode/{KEY[:16]}"
    for name in filesystem.names_in(store.fs, folder):
        note = json.loads(filesystem.read_bytes(store.fs, f"{folder}/{name}"))
        note["heartbeat_at"] -= seconds
        filesystem.write_bytes(store.fs, f"{folder}/{name}", json.dumps(note).encode())


def test_lease_has_one_holder_and_ends_with_the_block(open_again: OpenStore) -> None:
    """A second owner is refused with the first one's name, and free to go afterwards."""
    with hold_lease(open_again(), "encode", KEY, owner="first"):
        with (
            pytest.raises(LeaseHeldError, match="is being built by first") as caught,
            hold_lease(open_again(), "encode", KEY, owner="second"),
        ):
            pass
        assert (caught.value.owner, caught.value.age_s < 30) == ("first", True)
        with hold_lease(open_again(), "encode", "cd" * 32, owner="second"):
            pass
    assert describe_lease(open_again(), "encode", KEY) is None
    with hold_lease(open_again(), "encode", KEY, owner="second"):
        pass


def test_failure_in_the_block_ends_the_lease(store: Store) -> None:
    """A builder that fails does not lock the artifact."""
    with pytest.raises(KeyError), hold_lease(store, "encode", KEY, owner="first"):
        raise KeyError
    assert describe_lease(store, "encode", KEY) is None


def test_one_of_many_gets_the_lease(open_again: OpenStore) -> None:
    """Of eight that ask at the same moment one succeeds."""
    start, end = threading.Barrier(8), threading.Barrier(8)

    def ask(number: int) -> bool:
        store = open_again()
        start.wait(30)
        try:
            with hold_lease(store, "encode", KEY, owner=f"owner {number}"):
                end.wait(30)
                return True
        except LeaseHeldError:
            end.wait(30)
            return False

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))).count(True) == 1


def test_silent_holder_is_replaced_by_one_of_many(open_again: OpenStore) -> None:
    """After the time to live one of several successors takes over, and the old holder cannot."""
    store = open_again()
    with hold_lease(store, "encode", KEY, owner="dead"):
        _age_all_notes(store, 61)
        assert describe_lease(store, "encode", KEY) is None
        with hold_lease(open_again(), "encode", KEY, owner="successor"):
            holder = describe_lease(store, "encode", KEY)
            assert holder is not None
            assert holder.owner == "successor"
            with pytest.raises(LeaseHeldError), hold_lease(store, "encode", KEY, owner="third"):
                pass


def test_old_holder_that_wakes_up_leaves_the_successor_alone(store: Store) -> None:
    """A holder that was paused notices at its next heartbeat, and its end frees nothing."""
    with hold_lease(store, "encode", KEY, owner="new", time_to_live_s=60):
        pass
    old = hold_lease(store, "encode", KEY, owner="old", time_to_live_s=1, heartbeat_s=0.4)
    with old:
        _age_all_notes(store, 61)
        with hold_lease(store, "encode", KEY, owner="new"):
            time.sleep(0.6)
            holder = describe_lease(store, "encode", KEY)
            assert holder is not None
            assert holder.owner == "new"


def test_heartbeat_renews_the_lease(store: Store) -> None:
    """A holder is heard of again and again while it works."""
    with hold_lease(store, "encode", KEY, owner="me", heartbeat_s=0.05):
        _age_all_notes(store, 50)
        deadline = time.monotonic() + 20
        while _age_s(store) > 10 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert _age_s(store) < 10


def _age_s(store: Store) -> float:
    holder = describe_lease(store, "encode", KEY)
    return holder.age_s if holder else 1e9


def test_same_owner_takes_its_lease_up_again(store: Store) -> None:
    """A run that was restarted need not wait for its own earlier life to expire."""
    with (
        hold_lease(store, "encode", KEY, owner="run 1"),
        hold_lease(store, "encode", KEY, owner="run 1"),
    ):
        pass


def test_waiting_ends_when_the_holder_does(open_again: OpenStore) -> None:
    """A waiting builder gets the lease after the holder, and hears whom it waits for."""
    held, waits = threading.Event(), threading.Event()
    order: list[str] = []

    def first() -> None:
        with hold_lease(open_again(), "encode", KEY, owner="first"):
            held.set()
            assert waits.wait(30)
            order.append("first")

    def on_wait(error: LeaseHeldError) -> None:
        assert error.owner == "first"
        waits.set()

    thread = threading.Thread(target=first)
    thread.start()
    assert held.wait(30)
    with wait_for_lease(open_again(), "encode", KEY, owner="second", poll_s=0.01, on_wait=on_wait):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_lease_of_a_killed_process_expires(tmp_path: Path) -> None:
    """SIGKILL of the builder frees its artifact after the time to live."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "store")]
    store = open_store(tmp_path / "store")
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LeaseHeldError), hold_lease(store, "encode", KEY, owner="second"):
            pass
        holder.kill()
    with wait_for_lease(store, "encode", KEY, owner="second", poll_s=0.05):
        holder_now = describe_lease(store, "encode", KEY)
    assert holder_now is not None
    assert holder_now.owner == "second"


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]"])
def test_damaged_note_frees_the_lease(store: Store, damage: bytes) -> None:
    """A note that cannot be read holds nobody up."""
    path = f"{store.root}/.leases/encode/{KEY[:16]}/00000007.json"
    filesystem.write_bytes(store.fs, path, damage)
    with hold_lease(store, "encode", KEY, owner="me"):
        assert describe_lease(store, "encode", KEY) is not None


def test_refusal_survives_pickling() -> None:
    """Task runners on other machines send exceptions back."""
    error = LeaseHeldError("host:1", 3.2, "encode/ab under s3://b")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert str(error).startswith("encode/ab under s3://b is being built by host:1, last heard of 3")
    assert (again.owner, again.age_s) == ("host:1", 3.2)


@pytest.mark.parametrize("heartbeat_s", [0, -1, 31])
def test_heartbeat_must_be_well_within_the_time_to_live(store: Store, heartbeat_s: float) -> None:
    """One late heartbeat must not lose the lease."""
    with (
        pytest.raises(ValueError, match="at most half of time_to_live_s"),
        hold_lease(store, "encode", KEY, owner="me", heartbeat_s=heartbeat_s),
    ):
        pass
