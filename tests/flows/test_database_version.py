"""A server does not start on a database of another version; the line says which and what helps."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url

from flows.deploying.database_version import check, revisions_of


def database(path: Path, revision: str) -> str:
    """Write a database at a revision; return its address as a server is told it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.execute("INSERT INTO alembic_version VALUES (?)", [revision])
        connection.commit()
    return f"sqlite:///{path}"


@pytest.mark.parametrize("server", ["prefect", "mlflow"])
def test_a_database_of_a_newer_image_is_refused(server: str, tmp_path: Path) -> None:
    """The installed server does not know what was done to it."""
    url = make_url(database(tmp_path / "new.db", "ffffffffffff"))
    with pytest.raises(ValueError, match=rf"revision ffffffffffff, which {server} 3\.\S+ of this"):
        check(server, url)


def test_older_tables_are_prefects_own_business_and_mlflows_users(tmp_path: Path) -> None:
    """Prefect brings them up to date when it starts; MLflow wants a command, and a backup."""
    for server, expected in [("prefect", ""), ("mlflow", "mlflow db upgrade")]:
        known, newest = revisions_of(server, "sqlite")
        url = make_url(database(tmp_path / f"{server}.db", min(known - {newest})))
        if not expected:
            check(server, url)
            continue
        with pytest.raises(ValueError, match=expected):
            check(server, url)


@pytest.mark.parametrize("server", ["prefect", "mlflow"])
def test_a_database_of_this_version_fits_and_so_does_a_new_one(server: str, tmp_path: Path) -> None:
    """Nothing is written into it."""
    known, newest = revisions_of(server, "sqlite")
    assert len(known) > 30  # they were found: of Prefect 113, of MLflow 67 once
    check(server, make_url(database(tmp_path / "same.db", newest)))
    check(server, make_url(f"sqlite:///{tmp_path}/none.db"))


def test_a_database_that_is_away_is_one_line_without_its_password() -> None:
    """The driver's complaint has several lines."""
    pytest.importorskip("psycopg2", reason="needs the extra server")
    url = make_url("postgresql+asyncpg://postgres:hidden@127.0.0.1:9/prefect")
    with pytest.raises(ValueError, match="does not answer") as refused:
        check("prefect", url)
    assert "hidden" not in str(refused.value)
    assert "\n" not in str(refused.value)
