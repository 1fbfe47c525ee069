"""A storage that fails while a whole flow runs: what passes is tried again, what stays ends it."""

import errno
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from artifacts.published.checking import verify
from artifacts.store import list_records, open_store
from tests.tiny_pipeline import Run, built

BEFORE = ["download train", "download valid", "count_pretokens", "train_tokenizer"]
AFTER = ["encode_shards train", "encode_shards valid", "train_lm", "evaluate", "generate"]

Fault = Callable[[str], None]
"""Is called with the local path of each upload; raises what the storage answers."""


def inject(monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
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

    inject(monkeypatch, reset_twice)
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
        inject(patch, full)
        with pytest.raises(OSError, match=r"(?i)no space left"):
            run(remote)
    assert set(attempts.values()) == {1}
    store = open_store("memory://faults-that-stay")
    stages = {record.stage for record in list_records(store)}
    assert stages == {"download", "count_pretokens", "train_tokenizer"}
    assert built(run(remote)) == AFTER
