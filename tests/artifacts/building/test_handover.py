"""A new holder of the lease gets what the one before left, and nothing that it writes later."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from artifacts import filesystem
from artifacts.building.handover import take_over
from artifacts.building.mirror import mirror_files, restore_newest
from artifacts.building.publishing import publish
from artifacts.building.staging import Staging, add_part, open_staging, staged_parts
from artifacts.content_hash import stamps_below
from artifacts.lease import lease, waiting
from artifacts.lease.lease import Lease, LeaseLostError, lease_of
from artifacts.lease.waiting import wait_for_lease
from artifacts.published.checking import quarantine, verify
from artifacts.record import BuildFacts
from artifacts.store import find_record, hidden_path, open_store, published_path, record_path
from tests.artifacts.conftest import identity_of

if TYPE_CHECKING:
    from artifacts.store import Store
    from tests.artifacts.conftest import OpenStore, Stage

KEY = identity_of()
WORK = ("checkpoints/step-*/*", "log")

SLEEPER = """
import itertools, sys, time
from pathlib import Path
from artifacts.lease import lease
from artifacts.building.handover import take_over
from artifacts.identity import Identity
from artifacts.building.publishing import publish
from artifacts.record import BuildFacts
from artifacts.building.staging import add_part
from artifacts.store import open_store
from artifacts.lease.waiting import wait_for_lease

lease.TIME_TO_LIVE_S, lease.CONFIRM_S = 1.0, 0.2
key = Identity(
    stage="encode_shards", version=1, config={"name": "tiny", "size": 3}, inputs={}
)
try:
    with wait_for_lease(open_store(sys.argv[1]), key, owner="sleeper") as held:
        staging = take_over(held, work=["log"])
        with (staging.workdir / "log").open("a", buffering=1) as log:
            for number in itertools.count():
                log.write(f"sleeper {number}\\n")
                if number == 100:
                    print("works", flush=True)
                time.sleep(0.001)
                held.confirm()
except lease.LeaseLostError as error:
    print(error, flush=True)
"""


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "POLL_S", 0.01)
    monkeypatch.setattr(lease, "CONFIRM_S", 0.0)


def _next_hold(later: ExitStack, store: Store, monkeypatch: pytest.MonkeyPatch) -> Lease:
    """Take the lease, whoever holds it; others may take it from this one at once, too."""
    monkeypatch.setattr(lease, "TIME_TO_LIVE_S", 0.0)
    return later.enter_context(wait_for_lease(store, KEY, owner=f"builder {id(object())}"))


def _add(staging: Staging, name: str, text: str, folder: Path) -> None:
    path = folder / "source"
    path.write_text(text)
    add_part(staging, path, name, move=True, replace=True)


def _write(staging: Staging, name: str, text: str) -> Path:
    path = staging.workdir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_parts_and_unfinished_work_are_handed_over(
    open_again: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On every filesystem; half-written files and those nobody asked for stay behind."""
    with ExitStack() as later:
        old = take_over(_next_hold(later, open_again(), monkeypatch))
        _add(old, "sub/a", "a", tmp_path)
        for name in ("log", "checkpoints/step-1/state", "checkpoints/.partial-1/state", "scratch"):
            _write(old, name, name)
        new = take_over(_next_hold(later, open_again(), monkeypatch), work=WORK)
        assert new.workdir != old.workdir
        files = [path for path in new.workdir.rglob("*") if path.is_file()]
        found = {str(path.relative_to(new.workdir)): path.read_text() for path in files}
        assert found == {"log": "log", "checkpoints/step-1/state": "checkpoints/step-1/state"}
        assert set(staged_parts(new)) == {"sub/a"}
        assert not old.workdir.exists()
        record = publish(new, KEY, BuildFacts())
    store = open_again()
    assert verify(store, record) == []
    assert stamps_below(store.fs, f"{store.root}/.staging") == {}


@pytest.mark.parametrize("is_whole", [True, False])
def test_decided_record_is_created_by_the_next_builder(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_whole: bool
) -> None:
    """If its own builder died between decision and record, and only if all files are there."""
    with ExitStack() as later:
        old = take_over(_next_hold(later, store, monkeypatch))
        _add(old, "a", "a", tmp_path)
        record = publish(old, KEY, BuildFacts())
        filesystem.remove(store.fs, record_path(store, KEY))  # as if it had not come that far
        if not is_whole:
            filesystem.remove(store.fs, f"{published_path(store, record)}/a")
        _next_hold(later, store, monkeypatch)
        assert find_record(store, KEY) == (record if is_whole else None)


def test_damaged_note_of_the_lease_costs_no_parts(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was staged is named in the folder of its hold, so it is found all the same."""
    with ExitStack() as later:
        hold = _next_hold(later, store, monkeypatch)
        _add(take_over(hold), "a", "a", tmp_path)
        note = f"{hidden_path(store, 'leases', KEY)}/{hold.number:08d}.json"
        filesystem.write_bytes(store.fs, note, b"{")
        new = take_over(_next_hold(later, store, monkeypatch))
        assert set(staged_parts(new)) == {"a"}


def test_nothing_of_a_late_writer_is_read(
    open_again: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither through an open file, nor by its name, nor as a part; a third holder is safe, too."""
    with ExitStack() as later:
        store = open_again()
        old = take_over(_next_hold(later, store, monkeypatch))
        log = later.enter_context(_write(old, "log", "before\n").open("a"))
        new = take_over(_next_hold(later, open_again(), monkeypatch), work=WORK)
        log.write("late\n")
        log.flush()
        with pytest.raises(LeaseLostError):
            _add(old, "late", "late", tmp_path)
        monkeypatch.setattr(lease, "CONFIRM_S", 1e9)  # it looked a moment ago, and then slept
        _write(old, "log", "late\n")
        _add(old, "late", "late", tmp_path)
        assert (new.workdir / "log").read_text() == "before\n"
        assert staged_parts(new) == {}
        third = take_over(_next_hold(later, open_again(), monkeypatch), work=WORK)
        assert (third.workdir / "log").read_text() == "before\n"
        assert staged_parts(third) == {}


def test_mirrors_are_handed_over_to_another_machine(
    open_again: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by a holder in between that died before it mirrored anything itself."""
    if filesystem.local_path(open_again().fs, "") is not None:
        pytest.skip("a local store has no mirrors")
    with ExitStack() as later:
        machines = [
            open_store(open_again().url, cache_dir=tmp_path / name) for name in ("1", "2", "3")
        ]
        first = take_over(_next_hold(later, machines[0], monkeypatch))
        mirror_files(first, "00000007", {"log": _write(first, "log", "seven")})
        take_over(_next_hold(later, machines[1], monkeypatch))
        third = take_over(_next_hold(later, machines[2], monkeypatch))
        with pytest.raises(LeaseLostError):
            mirror_files(first, "00000008", {"log": _write(first, "log", "eight")})
        assert restore_newest(third) == "00000007"
        assert (third.workdir / "log").read_text() == "seven"


def test_range_in_another_process_finds_the_hold_by_its_name(store: Store, tmp_path: Path) -> None:
    """A mapped task opens the same folder, and does not begin it again."""
    with wait_for_lease(store, KEY, owner="flow") as held:
        flow = take_over(held)
        mapped = open_staging(store, KEY, lease_of(store, KEY, held.attempt))
        _add(mapped, "a", "a", tmp_path)
        assert take_over(lease_of(store, KEY, held.attempt)).workdir == flow.workdir
        assert set(staged_parts(flow)) == {"a"}


def test_what_was_set_aside_is_not_adopted(
    store: Store, stage_files: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Staged and published data may be one file on the disk, so it would be as damaged."""
    with ExitStack() as later:
        old = take_over(_next_hold(later, store, monkeypatch))
        _add(old, "a", "a", tmp_path)
        # as after a crash
        monkeypatch.setattr("artifacts.building.publishing.clear", lambda *_: None)
        record = publish(old, KEY, BuildFacts())
        quarantine(store, record, "test")
        new = take_over(_next_hold(later, store, monkeypatch))
        assert staged_parts(new) == {}
        newer = take_over(_next_hold(later, store, monkeypatch))
        assert staged_parts(newer) == {}


def test_process_that_was_suspended_is_told_and_damages_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP, the lease expires, another builder publishes, SIGCONT."""
    command = [sys.executable, "-c", SLEEPER, str(tmp_path / "store")]
    store = open_store(tmp_path / "store")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    ) as sleeper:
        assert sleeper.stdout is not None
        assert sleeper.stdout.readline() == "works\n"
        sleeper.send_signal(signal.SIGSTOP)
        with wait_for_lease(store, KEY, owner="second") as held:
            staging = take_over(held, work=WORK)
            sleeper.send_signal(signal.SIGCONT)
            assert "was lost to second" in sleeper.stdout.readline()
            with (staging.workdir / "log").open("a") as log:
                log.write("second\n")
            add_part(staging, staging.workdir / "log", "log")
            record = publish(staging, KEY, BuildFacts())
    lines = (Path(published_path(store, record)) / "log").read_text().splitlines()
    numbers = [int(line.removeprefix("sleeper ")) for line in lines[:-1]]
    assert numbers == list(range(len(numbers)))
    assert lines[-1] == "second"
    assert verify(store, record) == []
