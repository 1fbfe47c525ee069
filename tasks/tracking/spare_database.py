"""An empty database of MLflow or Prefect, kept once for a user, because making one takes seconds.

Both tools make their tables by a hundred migrations, the same ones on every data root. So the first
database is copied before anything is in it, and later data roots begin with that copy. The tool
looks itself whether a migration is missing, so a copy can save work and never change what is there.
"""

import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """Whose database it is."""

    name: str
    """Its distribution; databases of another version are not taken."""
    used: str
    """The table that has rows once somebody used the database."""
    rooted: str = ""
    """The table whose rows name the data root; the tool fills it again."""


MLFLOW = Tool(name="mlflow", used="runs", rooted="experiments")
PREFECT = Tool(name="prefect", used="flow_run")


def is_kept(tool: Tool, folder: Path) -> bool:
    """Tell whether a database is kept for later data roots."""
    return _spare(tool, folder).exists()


def begin_with_spare(tool: Tool, database: Path, folder: Path) -> bool:
    """Put a copy of the kept database where there is none; tell whether it was done."""
    spare = _spare(tool, folder)
    if database.exists() or not spare.exists():
        return False
    with suppress(OSError, sqlite3.Error), _named_when_whole(database) as copy:
        shutil.copyfile(spare, copy)
        if _is_unused(tool, copy):
            return True
        spare.unlink(missing_ok=True)
        copy.unlink()
    return False


def keep_spare(tool: Tool, database: Path, folder: Path) -> None:
    """Keep a copy of a database that nobody has used yet, for later data roots."""
    spare = _spare(tool, folder)
    if spare.exists():
        return
    with suppress(OSError, sqlite3.Error):  # then the next data root takes its time, as this one
        folder.mkdir(parents=True, exist_ok=True)
        with _named_when_whole(spare) as copy:
            _copy(tool, database, copy)
            if not _is_unused(tool, copy):
                copy.unlink()


def put_in_place(whole: Path, path: Path) -> None:
    """Give a whole file its name, unless another process was faster."""
    try:
        os.link(whole, path)
    except FileExistsError:
        pass
    except OSError:  # a filesystem without hard links
        if not path.exists():
            whole.rename(path)


def _spare(tool: Tool, folder: Path) -> Path:
    return folder / f"{tool.name}-{metadata.version(tool.name)}.db"


@contextmanager
def _named_when_whole(path: Path) -> Iterator[Path]:
    """Yield another name beside a path; what the body leaves there gets the path's name."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        yield part
        if part.exists():
            put_in_place(part, path)
    finally:
        for left in path.parent.glob(f"{part.name}*"):  # with SQLite's journal
            left.unlink(missing_ok=True)


def _copy(tool: Tool, database: Path, copy: Path) -> None:
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        if tool.rooted:
            target.execute(f"DELETE FROM {tool.rooted}")
            target.commit()


def _is_unused(tool: Tool, database: Path) -> bool:
    """Tell whether a database is sound, has the tool's tables, and no rows of a user."""
    try:
        with closing(sqlite3.connect(database)) as opened:
            sound = opened.execute("PRAGMA quick_check").fetchone() == ("ok",)
            return sound and opened.execute(f"SELECT 1 FROM {tool.used}").fetchone() is None
    except sqlite3.Error:
        return False
