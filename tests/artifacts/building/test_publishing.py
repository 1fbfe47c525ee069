"""Publishing is all or nothing, once, and safe against crashes, rivals and late comers."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from artifacts import filesystem
from artifacts.building.handover import take_over
from artifacts.building.publishing import publish
from artifacts.building.staging import add_part, open_staging, staged_parts
from artifacts.content_hash import stamps_below
from artifacts.identity import Reference
from artifacts.lease.waiting import wait_for_lease
from artifacts.published.checking import check, quarantine, verify
from artifacts.record import BuildFacts, ExternalFile, Record
from artifacts.store import (
    find_record,
    list_records,
    open_store,
    published_path,
    reference_of,
)
from tests.artifacts.conftest import identity_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifacts.building.staging import Staging
    from artifacts.identity import Identity
    from artifacts.store import Store
    from tests.artifacts.conftest import Build, OpenStore, Stage, Steps

FILES = {"a.bin": b"a" * 100, "sub/b.txt": b"text"}

_MAX_STEPS = 200

KILLED_PUBLISHER = """
import os, sys
from pathlib import Path
from artifacts.identity import Identity
from artifacts.building.publishing import publish
from artifacts.record import BuildFacts
from artifacts.building.staging import add_part, open_staging
from artifacts.store import open_store

folder, config = Path(sys.argv[1]), {"name": "tiny", "size": 3}
identity = Identity(stage="encode_shards", version=1, config=config, inputs={})
names = {"os.link", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "shutil.copyfile"}
count = 0

def build(n):
    def on_audit(event, arguments):
        global count
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
        if (event in names or writes) and root in "".join(map(str, arguments[:2])):
            count += 1
            if count == n:
                os.kill(os.getpid(), 9)

    root = str(folder / f"store-{n}")
    sys.addaudithook(on_audit)
    staging = open_staging(open_store(root), identity)
    for name in ("a.bin", "b.bin"):
        (staging.workdir / name).write_bytes(name.encode() * 100)
        add_part(staging, staging.workdir / name, name, move=name == "a.bin")
    publish(staging, identity, BuildFacts())

for n in range(1, 1000):
    child = os.fork()
    if child == 0:
        build(n)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(n)
"""
"""Runs in a process of its own. For n = 1, 2, ... a fork publishes into a new store and kills
itself just before its n-th change to the disk. Ends with the first n that is never reached."""


def test_published_artifact_is_found_whole_by_another_process(
    open_again: OpenStore, build: Build
) -> None:
    """What one process publishes, another one finds and verifies, on every filesystem."""
    record = build(open_again(), FILES)
    store = open_again()
    assert find_record(store, record) == record
    assert check(store, record).status == "hit"
    assert verify(store, record) == []
    assert [entry.name for entry in record.files] == ["a.bin", "sub/b.txt"]


def test_publishing_twice_is_a_no_op(store: Store, build: Build) -> None:
    """The second publisher of a fingerprint gets the first one's record, whatever it staged."""
    first = build(store, {"a.bin": b"a"})
    assert build(store, {"a.bin": b"other"}) == first
    assert verify(store, first) == []


def test_nothing_is_left_in_staging(store: Store, build: Build) -> None:
    """The winner removes the staged parts and its scratch folder."""
    build(store, FILES)
    assert stamps_below(store.fs, f"{store.root}/.staging") == {}
    assert not (store.cache_dir / "staging" / "encode_shards").exists() or not list(
        (store.cache_dir / "staging").rglob("work")
    )


def test_local_publishing_copies_nothing(local_store: Store, build: Build) -> None:
    """On one disk a moved part is renamed, not copied, and cannot be written to any more."""
    record = build(local_store, {"a.bin": b"a"})
    published = Path(published_path(local_store, record)) / "a.bin"
    assert published.stat().st_nlink == 1
    assert published.stat().st_mode & 0o222 == 0


def _outcome(staging: Staging, identity: Identity) -> Record | BaseException:
    """Publish, and return what comes of it."""
    try:
        return publish(staging, identity, BuildFacts())
    except (Exception, KeyboardInterrupt) as error:
        return error


def _assert_none_or_whole(store: Store, identity: Identity) -> None:
    found = check(store, identity)
    assert found.status in ("hit", "miss"), found.reason
    if found.status == "hit":
        assert verify(store, identity) == []


def _raiser(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize("after", [False, True], ids=["before", "answer lost"])
@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(), ConnectionError()], ids=repr)
def test_failure_at_any_step_leaves_no_half_artifact(
    steps: Steps, stage_files: Stage, failure: BaseException, after: bool
) -> None:
    """However far a publisher gets, there is no artifact or a whole one, and the next one works."""
    if after and steps.is_local:
        pytest.skip("a system call and its answer are one")
    for at in range(1, _MAX_STEPS):
        identity = identity_of(config={"at": at})
        staging = stage_files(steps.store, FILES, config=identity.config)
        steps.watch(at, _raiser(failure), after=after)
        outcome = _outcome(staging, identity)
        steps.end()
        assert outcome is failure or isinstance(outcome, Record)
        _assert_none_or_whole(steps.store, identity)
        staging = stage_files(steps.store, FILES, config=identity.config)
        record = publish(staging, identity, BuildFacts())
        assert verify(steps.store, record) == []
        assert {entry.name for entry in record.files} == set(FILES)
        if steps.count < at:
            return
    pytest.fail("publishing never came to an end")


def test_a_stop_at_any_step_loses_no_finished_part(steps: Steps, tmp_path: Path) -> None:
    """The next holder of the lease finds the parts, or the artifact that they became."""
    (source := tmp_path / "part").write_bytes(b"part")
    for at in range(1, _MAX_STEPS):
        identity = identity_of(config={"at": at})
        stopped = KeyboardInterrupt()
        with suppress(KeyboardInterrupt), wait_for_lease(steps.store, identity, owner="a") as held:
            staging = take_over(held)
            add_part(staging, source, "part")
            steps.watch(at, _raiser(stopped))
            outcome = _outcome(staging, identity)
            steps.end()
            if outcome is stopped:
                raise stopped
        with wait_for_lease(steps.store, identity, owner="b") as held:
            is_there = find_record(steps.store, identity) is not None
            assert is_there or "part" in staged_parts(take_over(held)), at
        if steps.count < at:
            return
    pytest.fail("publishing never came to an end")


def test_kill_at_any_system_call_leaves_no_half_artifact(tmp_path: Path) -> None:
    """SIGKILL before any change to the disk leaves nothing visible, and the next run builds."""
    command = [sys.executable, "-c", KILLED_PUBLISHER, str(tmp_path)]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    num_steps = int(done.stdout)
    assert num_steps > 15
    for step in range(1, num_steps):
        _assert_rebuilds(tmp_path / f"store-{step}")


def _assert_rebuilds(root: Path) -> None:
    store = open_store(root)
    identity = identity_of()
    _assert_none_or_whole(store, identity)
    staging = open_staging(store, identity)
    parts = staged_parts(staging)
    for name in {"a.bin", "b.bin"} - set(parts):
        (staging.workdir / name).write_bytes(name.encode() * 100)
        add_part(staging, staging.workdir / name, name)
    record = publish(staging, identity, BuildFacts())
    assert [entry.name for entry in record.files] == ["a.bin", "b.bin"]
    assert verify(store, identity) == []


def test_first_of_two_concurrent_publishers_wins(open_again: OpenStore, stage_files: Stage) -> None:
    """Publishers that run at the same time all return one record, and leave one attempt."""
    start = threading.Barrier(4)

    def run(_: int) -> Record:
        staging = stage_files(open_again(), FILES)
        start.wait(30)
        return publish(staging, identity_of(), BuildFacts())

    with ThreadPoolExecutor(4) as pool:
        records = list(pool.map(run, range(4)))
    store = open_again()
    assert len({record.folder for record in records}) == 1
    assert verify(store, records[0]) == []
    found = stamps_below(store.fs, f"{store.root}/encode_shards")
    assert {name.split("/")[1] for name in found} == {records[0].folder, "record.json"}


def test_owner_that_was_paused_anywhere_does_no_damage(
    steps: Steps, open_again: OpenStore, stage_files: Stage, build: Build
) -> None:
    """Whenever a publisher pauses while a rival publishes, it ends up with the rival's record."""
    for at in range(1, _MAX_STEPS):
        config = {"at": at}
        rivals: list[Record] = []
        late = stage_files(steps.store, FILES, config=config)
        rival = partial(_publish_rival, open_again, build, config, rivals)
        steps.watch(at, rival, looks_count=True)
        record = publish(late, identity_of(config=config), BuildFacts())
        steps.end()
        if not rivals:
            return
        assert rivals == [record]
        assert verify(open_again(), record) == []
        assert check(open_again(), record).status == "hit"
    pytest.fail("publishing never came to an end")


def _publish_rival(
    open_again: OpenStore, build: Build, config: dict[str, int], rivals: list[Record]
) -> None:
    rivals.append(build(open_again(), FILES, config=config))


def test_owner_that_was_paused_spares_what_is_rebuilt(
    steps: Steps, open_again: OpenStore, stage_files: Stage, build: Build
) -> None:
    """A winner that pauses while its artifact is quarantined and rebuilt spares the new one."""
    num_rebuilt = 0
    for at in range(1, _MAX_STEPS):
        config = {"at": at}
        late = stage_files(steps.store, FILES, config=config)
        rebuilt: list[Record] = []
        rebuild = partial(_rebuild, open_again, build, config, rebuilt)
        steps.watch(at, rebuild, looks_count=True)
        publish(late, identity_of(config=config), BuildFacts())
        steps.end()
        num_rebuilt += len(rebuilt)
        if rebuilt:
            assert find_record(open_again(), late.key) == rebuilt[0]
            assert verify(open_again(), late.key) == []
        if steps.count < at:
            assert num_rebuilt > 1
            return
    pytest.fail("publishing never came to an end")


def _rebuild(
    open_again: OpenStore, build: Build, config: dict[str, int], rebuilt: list[Record]
) -> None:
    """Quarantine and build anew if the paused publisher has got so far."""
    if quarantine(open_again(), identity_of(config=config), "test"):
        rebuilt.append(build(open_again(), FILES, config=config))


def test_full_disk_leaves_no_record_and_says_where(steps: Steps, stage_files: Stage) -> None:
    """No space at any step of publishing: no record, and a message with the place and a way out."""
    num_refused = 0
    for at in range(1, _MAX_STEPS):
        identity = identity_of(config={"at": at})
        staging = stage_files(steps.store, FILES, config=identity.config)
        steps.watch(at, _raiser(OSError(errno.ENOSPC, "No space left on device")))
        outcome = _outcome(staging, identity)
        steps.end()
        _assert_none_or_whole(steps.store, identity)
        if isinstance(outcome, OSError):
            num_refused += 1
            assert outcome.errno == errno.ENOSPC
            assert f"writing under {steps.store.url} (" in str(outcome)
            assert "; free space there or choose another place" in str(outcome)
        if steps.count < at:
            assert num_refused > 2
            return
    pytest.fail("publishing never came to an end")


@pytest.mark.slow
def test_really_full_disk_leaves_no_record(tmp_path: Path) -> None:
    """On a filesystem of 256 KiB a larger part is refused, and nothing of it stays visible."""
    mount = tmp_path / "small"
    mount.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(mount)])
    if done.returncode:
        pytest.skip("mounting a small filesystem needs root")
    try:
        _fill(mount, tmp_path)
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def _fill(mount: Path, tmp_path: Path) -> None:
    store = open_store(mount)
    staging = open_staging(store, identity_of())
    source = tmp_path / "large"
    source.write_bytes(os.urandom(300_000))
    with pytest.raises(OSError, match=f"no space left while writing under {mount}"):
        add_part(staging, source, "large")
    assert staged_parts(staging) == {}
    assert list_records(store) == []


def test_fingerprint_must_be_that_of_config_and_inputs(store: Store, stage_files: Stage) -> None:
    """A record cannot claim another config than the one that was fingerprinted."""
    staging = stage_files(store, FILES)
    for other in (replace(identity_of(), version=2), identity_of(config={"size": 4})):
        with pytest.raises(ValueError, match="publish with what was fingerprinted"):
            publish(staging, other, BuildFacts())


def test_artifact_needs_files_of_different_names(store: Store, stage_files: Stage) -> None:
    """No files, a name twice, or a volatile name that is no file are refused."""
    with pytest.raises(ValueError, match="no files to publish"):
        publish(stage_files(store, {}), identity_of(), BuildFacts())
    staging = stage_files(store, FILES)
    twice = ExternalFile("a.bin", "/corpus.txt", 1, "0" * 64)
    with pytest.raises(ValueError, match="must differ"):
        publish(staging, identity_of(), BuildFacts(external_files=(twice,)))
    with pytest.raises(ValueError, match=r"\['c.bin'\] are not among"):
        publish(staging, identity_of(), BuildFacts(volatile=("c.bin",)))


def test_number_that_json_does_not_have_is_refused(store: Store, stage_files: Stage) -> None:
    """No record is made that others could not read."""
    staging = stage_files(store, FILES)
    with pytest.raises(ValueError, match="JSON"):
        publish(staging, identity_of(), BuildFacts(seconds=float("nan")))
    assert find_record(store, identity_of()) is None


def test_part_that_vanished_is_not_left_out_in_silence(store: Store, stage_files: Stage) -> None:
    """A part that was added and is gone when it comes to publishing is an error."""
    staging = stage_files(store, FILES)
    filesystem.remove_below(store.fs, f"{store.root}/.staging/encode_shards")
    with pytest.raises(FileNotFoundError, match=r"\['a.bin', 'sub/b.txt'\].*are gone"):
        publish(staging, identity_of(), BuildFacts())
    assert list_records(store) == []


def test_record_holds_what_was_given(store: Store, build: Build) -> None:
    """All of the record's fields come back as they were given, in JSON's own types."""
    corpus = build(store, {"train.txt": b"text"}, stage="download")
    record = build(
        store,
        FILES,
        inputs={"text": reference_of(store, corpus)},
        statistics={"num_tokens": 2**40, "sizes": (1, 2)},
        labels={"corpus": "tiny"},
        volatile=("a.bin",),
        environment={"python": "3.11"},
        code_version="abc",
        started_at="2026-01-01T00:00:00Z",
        seconds=1.5,
        peak_rss_bytes=10,
        deterministic=False,
        run_ids={"prefect": "p", "mlflow": "m"},
    )
    assert find_record(store, record) == record
    assert record.inputs == {
        "text": Reference("download", corpus.fingerprint, reference_of(store, corpus).uri)
    }
    assert record.statistics == {"num_tokens": 2**40, "sizes": [1, 2]}
    assert (record.volatile, record.deterministic) == (("a.bin",), False)
    assert record.run_ids == {"prefect": "p", "mlflow": "m"}
