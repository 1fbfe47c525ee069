"""What the console shows of Prefect's log while the command line runs a flow."""

import logging


class NoTraceback(logging.Filter):
    """Drops records that carry a traceback: the command line says the error in one line.

    The records still reach Prefect's server, so the run's page has the traceback.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the console shows the record."""
        return record.exc_info is None


def quiet_tracebacks() -> None:
    """Keep tracebacks out of the console; imports Prefect, whose handlers these are."""
    from prefect.logging.handlers import PrefectConsoleHandler

    names = ["", "prefect", "prefect.flow_runs", "prefect.task_runs"]
    for handler in [item for name in names for item in logging.getLogger(name).handlers]:
        if isinstance(handler, PrefectConsoleHandler):
            handler.addFilter(NoTraceback())
