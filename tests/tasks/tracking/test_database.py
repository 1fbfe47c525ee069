"""MLflow's database is there whole, or not at all."""

import subprocess
import sys
from pathlib import Path

from mlflow.tracking import MlflowClient

from tasks.tracking.database import make_database

ROOT = Path(__file__).parents[3]

ON_A_SMALL_DISK = """
import resource, sys
from tasks.tracking.database import make_database
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
make_database(sys.argv[1], "")
"""


def test_a_full_disk_leaves_nothing_half_made(tmp_path: Path) -> None:
    """The next run, with room, has its database."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    # -B: the small disk would cut Python's own caches of modules short, and they would stay so.
    command = [sys.executable, "-B", "-c", ON_A_SMALL_DISK, uri]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "disk" in done.stderr  # and no error of another kind
    assert list(tmp_path.iterdir()) == []
    make_database(uri, (tmp_path / "artifacts").as_uri())
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("after")
    assert client.get_experiment(experiment).name == "after"
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_database_that_is_there_and_a_server_are_left_alone(tmp_path: Path) -> None:
    """It may hold the runs of years."""
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"runs")
    make_database(f"sqlite:///{path}", "")
    make_database("http://127.0.0.1:9", "")
    assert path.read_bytes() == b"runs"
