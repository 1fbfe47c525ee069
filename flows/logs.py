"""Where a run's log records go: all into a file, to the person only what the view does not say."""

import logging
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from os import getpid
from pathlib import Path

from tasks.watching.events import Noted, Observer

OURS = ("flows", "tasks", "lm", "tokenizer", "artifacts")
ENGINES = ("mlflow", "alembic", "sqlalchemy", "py")
"""Loggers whose records say in their words what the view says in ours; "py" has the warnings that
libraries give to programmers."""
KEPT_LOGS = 50
"""Log files of earlier runs that are kept."""
FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

_added: list[logging.Handler] = []
"""Handlers of the run that is shown."""


class _Notes(logging.Handler):
    """Hands what a person should know to the view: warnings, but not those of the engines."""

    def __init__(self, observer: Observer) -> None:
        super().__init__(logging.WARNING)
        self.observer = observer

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        if not is_of_engine(record):
            self.observer(Noted(text=" ".join(record.getMessage().split())))


class _LogFile(logging.FileHandler):
    """Writes records to a file; what a full disk refuses is missing there, and ends nothing."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- logging's own name
        """Leave the record out: logging would print a traceback for each of them."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def is_of_engine(record: logging.LogRecord) -> bool:
    """Tell whether Prefect or MLflow itself wrote a record, not a task through its logger."""
    packages = Path(record.pathname).parts
    return record.name.partition(".")[0] in ENGINES or "prefect" in packages


@contextmanager
def logged_to(path: Path, observer: Observer, *, verbose: bool) -> Iterator[None]:
    """Write every record of the body to a file, and show warnings; with `verbose`, show all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_old(path.parent)
    file = _LogFile(path, encoding="utf-8", delay=True)
    file.setFormatter(logging.Formatter(FORMAT))
    root, notes = logging.getLogger(), _Notes(observer)
    added: list[logging.Handler] = [file] if verbose else [file, notes]
    # Each package of ours tells its file what it does; other libraries only what is wrong.
    levels = {name: logging.getLogger(name).level for name in (*OURS, "mlflow")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.INFO)
    _added[:] = added
    _add_again()
    logging.captureWarnings(True)
    is_loaded = "prefect" in sys.modules  # not yet, where the command line shows a run
    try:
        with quiet_engines() if is_loaded and not verbose else nullcontext():
            yield
    finally:
        logging.captureWarnings(False)
        _added.clear()
        for handler in added:
            root.removeHandler(handler)
            handler.close()
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _add_again() -> None:
    """Add a run's handlers to the root logger, where they are not: loading Prefect removes all."""
    for handler in _added:
        logging.getLogger().addHandler(handler)


def engines_loaded(*, verbose: bool) -> AbstractContextManager[None]:
    """Once Prefect is loaded: write and show records again, without Prefect's if not `verbose`."""
    _add_again()
    return nullcontext() if verbose else quiet_engines()


@contextmanager
def quiet_engines() -> Iterator[None]:
    """Keep Prefect's records off the terminal; they still reach its server, and the log file."""
    from prefect.logging.handlers import PrefectConsoleHandler

    names = ["", "prefect", "prefect.flow_runs", "prefect.task_runs"]
    found = [handler for name in names for handler in logging.getLogger(name).handlers]
    consoles = [item for item in found if isinstance(item, PrefectConsoleHandler)]
    nothing = logging.Filter("no logger has this name")
    for handler in consoles:
        handler.addFilter(nothing)
    try:
        yield
    finally:
        for handler in consoles:
            handler.removeFilter(nothing)


def log_path(root: Path) -> Path:
    """Return the file of a run's records: named by the moment and the process."""
    return root / "logs" / f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{getpid()}.log"


def _remove_old(folder: Path) -> None:
    for path in sorted(folder.glob("*.log"))[:-KEPT_LOGS]:
        path.unlink(missing_ok=True)


def send_last_records() -> None:
    """Send what was logged to Prefect's server before that server goes."""
    from prefect.logging.handlers import APILogHandler

    APILogHandler().flush()
