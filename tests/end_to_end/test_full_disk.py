"""A disk that is really full, in every stage: one line that says so, and the next run goes on."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from artifacts.published.checking import verify
from artifacts.store import list_records, open_store
from flows.cli.main import one_line
from flows.stage_names import stage_names
from tests.tiny_pipeline import Run

pytestmark = pytest.mark.slow

SIZE = "24m"
BALLAST = "ballast"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of its own; skips where mounting is not allowed."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(place)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small filesystem needs root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path, *, left: int = 0) -> None:
    """Leave so many bytes free, roughly."""
    with (disk / BALLAST).open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
        file.truncate(max(0, file.tell() - left))


def test_every_stage_ends_in_one_line_and_the_next_run_does_the_rest(
    run: Run,
    settings: list[str],
    first: dict[str, Any],
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether nothing can be begun, or the files of the stage find no room."""
    # The end of a lease finds no room either, and the process that held it lives: it is this one.
    monkeypatch.setattr("artifacts.lease.lease.TIME_TO_LIVE_S", 0.5)
    store_at = small_disk / "store"
    here = [*settings, f"run.store={store_at}", "run.retries=0"]
    for stage in stage_names():
        for left in (0, 12_288, 32_768):
            fill(small_disk, left=left)
            if left == 0:
                with pytest.raises(OSError, match=r"(?i)no space left") as error:
                    run(here, only=stage)
                assert "\n" not in one_line(error.value)
                assert "free space" in one_line(error.value)
            else:
                with suppress_full_disk():
                    run(here, only=stage)
            (small_disk / BALLAST).unlink()
        run(here, only=stage)
    records = list_records(open_store(store_at))
    assert [verify(open_store(store_at), record) for record in records] == [[]] * len(records)
    assert published(store_at) == published(Path(first["store"]))


@contextmanager
def suppress_full_disk() -> Iterator[None]:
    """Let the body find room or not; any other error counts."""
    try:
        yield
    except OSError as error:
        if "no space left" not in str(error).lower():
            raise


def published(store_at: Path) -> dict[str, str]:
    """Return the hash of each file that is the same in every run."""
    return {
        f"{record.place}/{entry.name}": entry.sha256
        for record in list_records(open_store(store_at))
        for entry in record.files
        if entry.name not in record.volatile
    }
