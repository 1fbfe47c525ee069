"""What is made at the installation, for the first run of all."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flows.first_start import make_spares
from tasks.tracking.spare_database import MLFLOW, PREFECT, begin_with_spare, is_kept, keep_spare


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """An environment that a data root may be written into."""
    before = dict(os.environ)
    os.environ.pop("PREFECT_HOME", None)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.slow
def test_a_first_data_root_begins_with_what_was_made_at_the_installation(tmp_path: Path) -> None:
    """Empty databases of both tools, by the tools' own migrations."""
    make_spares(tmp_path / "passing", tmp_path / "spares")
    for tool in (MLFLOW, PREFECT):
        assert begin_with_spare(tool, tmp_path / f"{tool.name}.db", tmp_path / "spares")


def test_a_prefect_database_of_the_users_is_left_alone(tmp_path: Path) -> None:
    """It may have their runs; and what is kept already is not made again."""
    database, spares = tmp_path / "mlflow.db", tmp_path / "spares"
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.executescript("CREATE TABLE runs (id); CREATE TABLE experiments (id)")
    keep_spare(MLFLOW, database, spares)
    os.environ["PREFECT_HOME"] = str(tmp_path / "users")
    make_spares(tmp_path / "passing", spares)
    assert not is_kept(PREFECT, spares)
    assert list((tmp_path / "users").iterdir()) == []
