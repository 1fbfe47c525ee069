"""MLflow's local database, made whole or not at all.

MLflow makes its tables one after the other. A disk that is full in between, or a kill, would leave
a database that no later run can open.
"""

import uuid
from pathlib import Path

from tasks.tracking.spare_database import MLFLOW, begin_with_spare, keep_spare, put_in_place

SQLITE = "sqlite:///"


def make_database(uri: str, artifact_location: str, spares: Path | None = None) -> None:
    """Make the database of a local address where there is none; of several makers one wins.

    A folder of `spares` has an empty one that only needs to be copied, or gets it now.

    Raises:
        Exception: MLflow could not make it; whatever it raises.
    """
    path = Path(uri.removeprefix(SQLITE))
    if not uri.startswith(SQLITE) or path.exists():
        return
    if spares and begin_with_spare(MLFLOW, path, spares):
        return
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        _make_tables(f"{SQLITE}{temporary}", artifact_location)
        if spares:
            keep_spare(MLFLOW, temporary, spares)
        put_in_place(temporary, path)
    finally:
        for left in path.parent.glob(f"{temporary.name}*"):  # with SQLite's journal
            left.unlink(missing_ok=True)


def _make_tables(uri: str, artifact_location: str) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    place = artifact_location or "mlruns"
    store = SqlAlchemyStore(uri, place)  # type: ignore[no-untyped-call] # annotated in part
    store.engine.dispose()  # so that the file is complete
