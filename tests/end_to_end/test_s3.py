"""The whole pipeline on a real S3 server, from two machines that share nothing else."""

from pathlib import Path
from typing import Any

import pytest

from artifacts.store import list_records, open_store
from tests.tiny_pipeline import Run, built, run_in, shown

pytestmark = pytest.mark.slow


@pytest.fixture
def s3_environment(s3_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the server's address and keys by the environment, as a user would; return a store."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_options["client_kwargs"]["endpoint_url"])
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_options["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_options["secret"])
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
