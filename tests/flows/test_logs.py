"""Where log records go while a run is shown."""

import logging
import logging.config
from pathlib import Path

from flows.logs import engines_loaded, logged_to
from tasks.watching.events import Event, Noted

SET_UP = {"version": 1, "disable_existing_loggers": False, "root": {"handlers": []}}
"""As Prefect does when it is loaded."""


def test_records_reach_file_and_person_though_a_library_sets_logging_up_anew(
    tmp_path: Path,
) -> None:
    """Prefect, loaded in the middle, removes all handlers; ours are added again."""
    path, seen = tmp_path / "logs" / "run.log", list[Event]()
    root = logging.getLogger()
    before = root.handlers[:]
    try:
        with logged_to(path, seen.append, verbose=False):
            logging.config.dictConfig(SET_UP)
            with engines_loaded(verbose=False):
                logging.getLogger("tasks").warning("waiting for another run")
    finally:
        root.handlers[:] = before
    assert "WARNING tasks: waiting for another run" in path.read_text()
    assert seen == [Noted(text="waiting for another run")]
