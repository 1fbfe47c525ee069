"""A storage that fails while a whole flow runs: what passes is tried again, what stays ends it."""

import errno
import random
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from artifacts.identity import Reference
from artifacts.published.checking import verify
from artifacts.store import Store, list_records, open_store, record_of
from tests.storage_faults import ERRORS, Faults, inject
from tests.tiny_pipeline import Run, built

BEFORE = ["download train", "download valid", "count_pretokens", "train_tokenizer"]
AFTER = ["encode_shards train", "encode_shards valid", "train_lm", "evaluate", "generate"]

Fault = Callable[[str], None]
"""Is called with the local path of each upload; raises what the storage answers."""


def inject_uploads(monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    """Let uploads to memory:// ask `fault` first."""
    upload = MemoryFileSystem.put_file

    def put_file(self: MemoryFileSystem, lpath: str, rpath: str, **options: Any) -> Any:
        fault(lpath)
        return upload(self, lpath, rpath, **options)

    monkeypatch.setattr(MemoryFileSystem, "put_file", put_file)


def shard_of(path: str) -> str:
    """Return the split's folder and the name of a token shard; "" for any other file."""
    found = re.search(r"encode_shards/([^/]+)/.*/(shard-[^/]+)$", path)
    return "/".join(found.groups()) if found else ""


def test_a_fault_that_passes_is_tried_again(
    run: Run, settings: list[str], first: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first two uploads of every shard fail; the run ends as an undisturbed one."""
    attempts: Counter[str] = Counter()

    def reset_twice(path: str) -> None:
        if shard := shard_of(path):
            attempts[shard] += 1
            if attempts[shard] <= 2:
                raise ConnectionResetError(errno.ECONNRESET, "connection reset by peer", path)

    inject_uploads(monkeypatch, reset_twice)
    remote = [*settings, "run.store=memory://faults-that-pass", "run.retry_delay_s=0.1"]
    summary = run(remote)
    assert built(summary) == [*BEFORE, *AFTER]
    assert attempts
    assert min(attempts.values()) > 2
    fingerprints = [stage["fingerprint"] for stage in summary["stages"]]
    assert fingerprints == [stage["fingerprint"] for stage in first["stages"]]
    store = open_store("memory://faults-that-pass")
    assert [verify(store, record) for record in list_records(store)] == [[]] * len(fingerprints)
    assert built(run(remote)) == []


def test_a_fault_that_stays_ends_the_run_and_loses_nothing(
    run: Run, settings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full storage is not tried again; once there is room the same command does the rest."""
    attempts: Counter[str] = Counter()

    def full(path: str) -> None:
        if shard := shard_of(path):
            attempts[shard] += 1
            raise OSError(errno.ENOSPC, "no space left on device", path)

    remote = [*settings, "run.store=memory://faults-that-stay", "run.retry_delay_s=0.1"]
    with monkeypatch.context() as patch:
        inject_uploads(patch, full)
        with pytest.raises(OSError, match=r"(?i)no space left"):
            run(remote)
    assert set(attempts.values()) == {1}
    store = open_store("memory://faults-that-stay")
    stages = {record.stage for record in list_records(store)}
    assert stages == {"download", "count_pretokens", "train_tokenizer"}
    assert built(run(remote)) == AFTER


TRANSIENT = ("reset", "answer lost", "503", "slow", "truncated", "lost")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_one_request_in_twenty_may_fail_in_each_way(
    run: Run,
    settings: list[str],
    first: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    """A run over such a storage, with all faults mixed, ends with the same artifacts."""
    url = f"memory://faults-mixed-{seed}"
    rare = {"put_file": ["lost"], "cat_file": ["truncated"]}  # surely once
    monkeypatch.setattr("artifacts.patience.FIRST_PAUSE_S", 0.001)
    with monkeypatch.context() as patch:
        draw = random.Random(seed)
        faults = inject(patch, Faults(at=rare, share=0.05, kinds=TRANSIENT, draw=draw))
        summary = run([*settings, f"run.store={url}", "run.retry_delay_s=0.01"])
    assert all(faults.seen[kind] > 0 for kind in TRANSIENT), faults.seen
    assert hashes_of(open_store(url), summary) == hashes_of(open_store(first["store"]), first)


@pytest.mark.slow
@pytest.mark.parametrize("stage", AFTER[:1] + AFTER[2:])
@pytest.mark.parametrize(("kind", "line"), [("full", "no space left"), ("forbidden", "no access")])
def test_every_stage_ends_with_one_line_where_nothing_can_be_written(
    run: Run, settings: list[str], monkeypatch: pytest.MonkeyPatch, stage: str, kind: str, line: str
) -> None:
    """The line names the place and the way out, and the same command does the rest later."""
    name = stage.partition(" ")[0]
    url = f"memory://no-writes-{name.replace('_', '-')}-{kind}"
    begun = AFTER[: AFTER.index(stage)]
    remote = [*settings, f"run.store={url}", "run.retry_delay_s=0.01"]
    with monkeypatch.context() as patch:
        inject_into(patch, name, kind)
        with pytest.raises(OSError, match=line) as error:
            run(remote)
    assert url.removeprefix("memory://") in str(error.value)
    assert "\n" not in str(error.value)
    assert built(run(remote)) == [s for s in AFTER if s not in begun]


def inject_into(monkeypatch: pytest.MonkeyPatch, stage: str, kind: str) -> None:
    """Let every write below a stage's folders fail."""
    for method in ("pipe_file", "put_file", "cp_file"):
        work = getattr(MemoryFileSystem, method)

        def request(self: MemoryFileSystem, *args: Any, work: Any = work, **kwargs: Any) -> Any:
            if any(f"/{stage}/" in str(arg) for arg in args if isinstance(arg, str)):
                raise ERRORS[kind]
            return work(self, *args, **kwargs)

        monkeypatch.setattr(MemoryFileSystem, method, request)


def hashes_of(store: Store, summary: dict[str, Any]) -> dict[str, str]:
    """Return what a run published: the hash of each file that is the same in every run."""
    records = [record_of(store, Reference.from_json(stage)) for stage in summary["stages"]]
    return {
        f"{record.place}/{entry.name}": entry.sha256
        for record in records
        for entry in record.files
        if entry.name not in record.volatile
    }
