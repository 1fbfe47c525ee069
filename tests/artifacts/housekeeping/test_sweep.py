"""What is needed stays, whatever its age; the rest goes, records first."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from artifacts.building.publishing import publish
from artifacts.building.staging import add_part, open_staging
from artifacts.housekeeping import notes
from artifacts.housekeeping.disk_usage import disk_usage
from artifacts.housekeeping.sweep import DAY_S, LEAVING_S, Removal, plan_sweep, sweep
from artifacts.identity import Identity
from artifacts.lease.waiting import wait_for_lease
from artifacts.published.checking import check
from artifacts.record import BuildFacts, Record
from artifacts.store import DamagedRecordError, Store, list_records, open_store, reference_of

Make = Callable[..., Record]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A local store."""
    return open_store(tmp_path / "store")


@pytest.fixture
def make(store: Store, tmp_path: Path) -> Make:
    """Publish an artifact that was made some days ago from others."""

    def call(stage: str, *inputs: Record, days: float = 0.0, size: int = 10) -> Record:
        references = {str(n): reference_of(store, record) for n, record in enumerate(inputs)}
        identity = Identity(stage=stage, version=1, config={"size": size}, inputs=references)
        path = tmp_path / "part"
        path.write_bytes(b"x" * size)
        staging = open_staging(store, identity)
        add_part(staging, path, "part")
        began = datetime.fromtimestamp(time.time() - days * DAY_S, UTC)
        return publish(staging, identity, BuildFacts(started_at=began.isoformat()))

    return call


def artifacts_of(removals: list[Removal]) -> set[str]:
    return {removal.record.stage for removal in removals if removal.record is not None}


def swept(store: Store, keep_days: float = 30, **options: int) -> set[str]:
    """Sweep, and return the stages whose artifacts are left."""
    list(sweep(store, plan_sweep(store, keep_days=keep_days, **options)))
    return {record.stage for record in list_records(store)}


def test_what_was_not_used_for_long_goes(store: Store, make: Make) -> None:
    """A plan removes nothing; the sweep removes record, files and notes."""
    old, new = make("text", days=40), make("shards", days=1)
    planned = plan_sweep(store, keep_days=30)
    assert artifacts_of(planned) == {"text"}
    assert check(store, old).status == "hit"
    assert swept(store) == {"shards"}
    assert check(store, old).status == "miss"
    assert check(store, new).status == "hit"
    assert not list(Path(store.root).rglob("*text*/*/part"))


def test_a_use_keeps_an_artifact_and_its_ancestors(store: Store, make: Make) -> None:
    """A model that is used needs its tokenizer and its text."""
    text = make("text", days=90)
    model = make("model", make("shards", text, days=60), days=40)
    other = make("other", text, days=40)
    notes.mark_used(store, model)
    assert swept(store) == {"text", "shards", "model"}
    assert check(store, other).status == "miss"


def test_a_pin_keeps_an_artifact_and_its_ancestors(store: Store, make: Make) -> None:
    """Until it is unpinned."""
    model = make("model", make("shards", make("text", days=90), days=60), days=40)
    notes.pin(store, model, "the paper's")
    assert swept(store) == {"text", "shards", "model"}
    assert notes.unpin(store, model)
    assert not notes.unpin(store, model)
    assert swept(store) == set()


def test_what_a_running_build_reads_stays(store: Store, make: Make) -> None:
    """A training may read its shards for longer than anything is kept."""
    shards = make("shards", make("text", days=90), days=60)
    inputs = {"train": reference_of(store, shards)}
    model = Identity(stage="model", version=1, config={}, inputs=inputs)
    with wait_for_lease(store, model, owner="training"):
        notes.note_needs(store, model, inputs.values())
        assert swept(store) == {"text", "shards"}
    assert swept(store) == set()


def test_above_a_size_the_longest_unused_goes_first(store: Store, make: Make) -> None:
    """Users go before what they use, pinned ones never, and what was used today stays."""
    text = make("text", days=20, size=100)
    make("model", text, days=10, size=100)
    pinned = make("pinned", days=25, size=100)
    make("today", days=0.5, size=100)
    notes.pin(store, pinned)
    assert artifacts_of(plan_sweep(store, keep_days=30, max_bytes=400)) == set()
    assert artifacts_of(plan_sweep(store, keep_days=30, max_bytes=350)) == {"model"}
    assert swept(store, max_bytes=0) == {"pinned", "today"}


def test_an_artifact_that_was_used_after_the_plan_stays(store: Store, make: Make) -> None:
    """A run may find it between the two."""
    text = make("text", days=40)
    planned = plan_sweep(store, keep_days=30)
    notes.mark_used(store, text)
    assert list(sweep(store, planned)) == []
    assert check(store, text).status == "hit"


def test_leavings_go_when_they_are_old(store: Store, make: Make) -> None:
    """Not before an hour: a living builder may be writing them."""
    record = make("text")
    root = Path(store.root)
    unpublished = root / record.place / "attempt-x"
    staged = root / ".staging" / record.place / "00000001-x"
    unfinished = root / ".staging" / "model" / ("a" * 16)
    for folder in (unpublished, staged, unfinished):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x")
    assert plan_sweep(store, keep_days=30) == []
    later = time.time() + 2 * LEAVING_S
    gone = {removal.path for removal in plan_sweep(store, keep_days=30, now=later)}
    assert gone == {str(unpublished), str(staged.parent)}
    later = time.time() + 29 * DAY_S
    assert str(unfinished) not in {r.path for r in plan_sweep(store, keep_days=30, now=later)}
    later = time.time() + 31 * DAY_S
    assert str(unfinished) in {r.path for r in plan_sweep(store, keep_days=30, now=later)}


def test_a_record_that_cannot_be_read_stops_the_sweep(store: Store, make: Make) -> None:
    """What it needs is unknown."""
    make("text", days=40)
    model = make("model", days=40)
    path = Path(store.root) / model.place / "record.json"
    path.chmod(0o644)
    path.write_text("{")
    with pytest.raises(DamagedRecordError):
        plan_sweep(store, keep_days=30)


def test_a_store_that_is_only_read_notes_no_use(store: Store, make: Make) -> None:
    """A use that cannot be noted is no reason to fail."""
    record = make("text")
    used = Path(store.root) / ".used"
    used.write_text("a file, where the folder should be")
    notes.mark_used(store, record)
    assert notes.used_at(store, record) == 0.0


def test_uses_are_noted_once_an_hour(store: Store, make: Make) -> None:
    """A hit costs a look, not a write."""
    record = make("text")
    notes.mark_used(store, record)
    path = next(Path(store.root).rglob(".used/*/*.json"))
    os.utime(path, (1, 1))
    notes.mark_used(store, record)
    assert path.stat().st_mtime == 1


def test_usage_is_told_by_stage_and_for_the_rest(store: Store, make: Make) -> None:
    """The largest first."""
    make("text", size=10)
    make("model", size=100)
    (Path(store.root) / ".quarantine").mkdir()
    (Path(store.root) / ".quarantine" / "x").write_bytes(b"xyz")
    found = {usage.what: (usage.count, usage.size_bytes) for usage in disk_usage(store)}
    assert list(found)[:2] == ["model", "text"]
    assert found["model"] == (1, 100)
    assert found[".quarantine"] == (0, 3)
