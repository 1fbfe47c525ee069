"""The whole pipeline on a real S3 server, from two machines that share nothing else."""

from pathlib import Path
from typing import Any

import pytest

from artifacts.store import list_records, open_store
from tests.s3_server import set_s3_environment
from tests.tiny_pipeline import Run, built, run_in, shown

pytestmark = pytest.mark.slow


@pytest.fixture
def s3_environment(s3_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """Give a store on the server."""
    set_s3_environment(s3_options, monkeypatch)
    return "s3://tests/pipeline"


def test_a_second_machine_builds_nothing(
    run: Run, settings: list[str], s3_environment: str, tmp_path: Path
) -> None:
    """Artifacts on S3 are hits for any machine, and the fingerprints are those of a disk."""
    on_s3 = [*settings, f"run.store={s3_environment}"]
    first = run(on_s3)
    assert len(built(first)) == 9
    second = run_in(tmp_path / "second-machine")(on_s3)
    assert built(second) == []
    assert shown(second, "generate") == shown(first, "generate")
    on_disk = run_in(tmp_path / "third-machine")(settings)
    assert [s["fingerprint"] for s in on_disk["stages"]] == [
        s["fingerprint"] for s in first["stages"]
    ]
    store = open_store(s3_environment)
    assert len(list_records(store)) == 9
    # SeaweedFS keeps a folder's own name where all its files are gone.
    left = store.fs.find(f"{store.root}/.staging")
    assert [path for path in left if not path.endswith("/.staging")] == []
