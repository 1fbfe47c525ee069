"""A data root begins with a copy of an empty database, or with none."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from tasks.tracking.database import make_database
from tasks.tracking.spare_database import MLFLOW, PREFECT, begin_with_spare, keep_spare


def ask(database: Path, query: str) -> list[Any]:
    """Return the rows of a query; without rows, what it changed is there."""
    with closing(sqlite3.connect(database)) as opened, opened:
        return opened.execute(query).fetchall()


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A new database as Prefect leaves it."""
    path = tmp_path / "first.db"
    ask(path, "CREATE TABLE flow_run (id)")
    ask(path, "CREATE TABLE alembic_version (version)")
    ask(path, "INSERT INTO alembic_version VALUES ('head')")
    return path


def test_a_later_data_root_begins_with_the_tables_of_the_first(first: Path, tmp_path: Path) -> None:
    """The copy is whole and alone; a database that is there stays as it is."""
    spares, later = tmp_path / "spares", tmp_path / "later.db"
    assert not begin_with_spare(PREFECT, later, spares)
    keep_spare(PREFECT, first, spares)
    assert begin_with_spare(PREFECT, later, spares)
    assert ask(later, "SELECT * FROM alembic_version") == [("head",)]
    ask(later, "INSERT INTO flow_run VALUES (1)")
    assert not begin_with_spare(PREFECT, later, spares)
    assert ask(later, "SELECT * FROM flow_run") == [(1,)]
    assert len(list(spares.iterdir())) == 1
    assert list(tmp_path.glob(".*")) == []


def test_a_used_database_is_not_kept(first: Path, tmp_path: Path) -> None:
    """The runs of one data root never show up in another one."""
    ask(first, "INSERT INTO flow_run VALUES (1)")
    keep_spare(PREFECT, first, tmp_path / "spares")
    assert list((tmp_path / "spares").iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"no database", b"SQLite format 3\0"])
def test_a_damaged_spare_is_not_taken(first: Path, tmp_path: Path, damage: bytes) -> None:
    """The tool makes its tables then, as without a spare."""
    keep_spare(PREFECT, first, tmp_path / "spares")
    (spare,) = (tmp_path / "spares").iterdir()
    spare.write_bytes(damage)
    assert not begin_with_spare(PREFECT, tmp_path / "later.db", tmp_path / "spares")
    assert not (tmp_path / "later.db").exists()
    assert not spare.exists()


def test_each_data_root_has_its_own_place_for_the_files_of_mlflow(tmp_path: Path) -> None:
    """What names the first data root does not travel with the copy; the tables do."""
    clients = []
    for name in ("one", "two"):
        root = tmp_path / name
        root.mkdir()
        uri = f"sqlite:///{root}/mlflow.db"
        make_database(uri, (root / "artifacts").as_uri(), tmp_path / "spares")
        clients.append(MlflowClient(tracking_uri=uri))
        clients[-1].create_experiment("owt-pipeline", (root / "artifacts").as_uri())
    tables = [
        ask(tmp_path / name / "mlflow.db", "SELECT sql FROM sqlite_master ORDER BY name")
        for name in ("one", "two")
    ]
    assert tables[0] == tables[1]
    assert begin_with_spare(MLFLOW, tmp_path / "three.db", tmp_path / "spares")
    assert ask(tmp_path / "three.db", "SELECT * FROM experiments") == []
    places = {item.artifact_location for item in clients[1].search_experiments()}
    assert not any(str(tmp_path / "one") in place for place in places)
