"""Does this image's server fit its database? Asked before it starts, in `docker/compose.yaml`.

    python -m flows.deploying.database_version prefect DATABASE_URL

A server of an older image does not know what a newer one has done to the tables, and MLflow's does
not bring older tables up to date by itself: both end in a traceback, again and again.
"""

import argparse
import re
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import URL, create_engine, inspect, make_url, text
from sqlalchemy.exc import DBAPIError

DRIVERS = {"postgresql": "postgresql+psycopg2", "sqlite": "sqlite"}
"""Those that need no event loop."""

FOLDERS = {
    "prefect": "server/database/_migrations/versions/{backend}",
    "mlflow": "store/db_migrations/versions",
}
"""Where each package keeps its steps, for Alembic, which names the step before in each."""

REVISION = re.compile(r'^revision = "(\w+)"', re.MULTILINE)
EARLIER = re.compile(r'^down_revision = "(\w+)"', re.MULTILINE)


def main() -> int:
    """Check, and say in one line what does not fit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server", choices=["prefect", "mlflow"])
    parser.add_argument("url", help="the database, as the server is told of it")
    options = parser.parse_args()
    try:
        check(options.server, make_url(options.url))
    except ValueError as error:
        sys.stderr.write(f"{options.server}: {error}\n")
        return 2
    return 0


def check(server: str, url: URL) -> None:
    """Raise `ValueError` where the server would not start on this database; a new one fits."""
    shown = url.render_as_string(hide_password=True)
    try:
        found = revision_of(url)
    except DBAPIError as error:
        problem = str(error.orig).splitlines()[0]
        raise ValueError(f"the database {shown} does not answer: {problem}") from error
    if not found:
        return
    known, newest = revisions_of(server, url.get_backend_name())
    installed = version(server)
    if found not in known:
        raise ValueError(
            f"the database {shown} is at revision {found}, which {server} {installed} of this "
            "image does not know: it is of a newer image; start that one, or restore the backup"
        )
    if server == "mlflow" and found != newest:
        raise ValueError(
            f"the database {shown} is of an MLflow before {installed}; make a backup, then give "
            'in a container of this image: mlflow db upgrade "URL" (docker/README.md)'
        )


def revision_of(url: URL) -> str:
    """Return the last step that was taken on the tables; "": there are none yet."""
    engine = create_engine(url.set(drivername=DRIVERS[url.get_backend_name()]))
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return ""
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            return str(found or "")
    finally:
        engine.dispose()


def revisions_of(server: str, backend: str) -> tuple[set[str], str]:
    """Return the steps that the installed server knows, and the last one.

    Their files are read and not imported, which would take seconds at every start.
    """
    spec = find_spec(server)
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / FOLDERS[server].format(backend=backend)
    steps = [path.read_text(encoding="utf-8") for path in folder.glob("*.py")]
    known = {step for text in steps for step in REVISION.findall(text)}
    (newest,) = known - {step for text in steps for step in EARLIER.findall(text)}
    return known, newest


if __name__ == "__main__":
    sys.exit(main())
