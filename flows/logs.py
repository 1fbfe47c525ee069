"""What the console shows of Prefect's log while the command line runs a flow."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class NoTraceback(logging.Filter):
    """Drops records that carry a traceback: the command line says the error in one line.

    The records still reach Prefect's server, so the run's page has the traceback.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the console shows the record."""
        return record.exc_info is None


@contextmanager
def readable_console() -> Iterator[None]:
    """Keep tracebacks out of the console, and send what was logged before the server goes."""
    from prefect.logging.handlers import APILogHandler, PrefectConsoleHandler

    names = ["", "prefect", "prefect.flow_runs", "prefect.task_runs"]
    for handler in [item for name in names for item in logging.getLogger(name).handlers]:
        if isinstance(handler, PrefectConsoleHandler):
            handler.addFilter(NoTraceback())
    try:
        yield
    finally:
        APILogHandler().flush()
