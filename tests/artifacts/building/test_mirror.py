"""Mirrors bring unfinished work to another machine, whole or not at all."""

from pathlib import Path

import pytest

from artifacts.building.mirror import mirror_files, restore_newest
from artifacts.building.staging import Staging, open_staging
from artifacts.identity import Reference
from artifacts.store import open_store

MODEL = Reference("train_lm", "ab" * 32, "")


def staging_on(machine: Path, url: str) -> Staging:
    """Return the staging place as a machine with its own disk sees it."""
    return open_staging(open_store(url, cache_dir=machine), MODEL)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store that is not on a disk, of this test's own."""
    return f"memory://mirror-{tmp_path.name}"


def write(folder: Path, step: int) -> dict[str, Path]:
    """Write the files of a checkpoint and return them by the names they shall have again."""
    files = {f"checkpoints/{step}/weights": f"weights {step}", "metrics.jsonl": f"{step}\n"}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return {name: folder / name for name in files}


def test_another_machine_resumes_from_the_newest_mirror(tmp_path: Path, url: str) -> None:
    """Files come back under their names; two mirrors are kept."""
    here = staging_on(tmp_path / "here", url)
    for step in (1, 2, 3):
        mirror_files(here, f"{step:08d}", write(here.workdir, step))
    there = staging_on(tmp_path / "there", url)
    assert restore_newest(there) == "00000003"
    assert (there.workdir / "checkpoints/3/weights").read_text() == "weights 3"
    assert (there.workdir / "metrics.jsonl").read_text() == "3\n"
    assert len(here.store.fs.find(f"{here.store.root}/.staging")) == 6


def test_a_damaged_mirror_gives_way_to_the_one_before(tmp_path: Path, url: str) -> None:
    """Nothing of the damaged one is left in the working folder."""
    here = staging_on(tmp_path / "here", url)
    for step in (1, 2):
        mirror_files(here, f"{step:08d}", write(here.workdir, step))
    (path,) = (p for p in here.store.fs.find(here.store.root) if p.endswith("2/weights"))
    here.store.fs.pipe_file(path, b"something else")
    there = staging_on(tmp_path / "there", url)
    assert restore_newest(there) == "00000001"
    assert not (there.workdir / "checkpoints" / "2").exists()


def test_a_local_store_needs_no_mirror(tmp_path: Path) -> None:
    """Its working folder survives in the staging place itself."""
    here = open_staging(open_store(tmp_path), MODEL)
    mirror_files(here, "00000001", write(here.workdir, 1))
    assert restore_newest(here) is None
