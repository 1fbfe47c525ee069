"""Which failures are worth trying again: storage and network, nothing else."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from artifacts import patience
from artifacts.fetching.fetch import UnreachableError
from tasks.context import RunContext

T = TypeVar("T")

logger = logging.getLogger(__name__)


def is_transient(error: BaseException) -> bool:
    """Tell a storage or network error, which may pass, from one that stays.

    An address that cannot be reached has been tried for long enough where it was fetched.
    """
    return patience.is_transient(error) and not isinstance(error, UnreachableError)


def try_again_in_flow(context: RunContext, call: Callable[[], T], what: str) -> T:
    """Do what the flow itself does, with the retries that its tasks have.

    Prefect retries tasks only. What is called may be called again.
    """

    def is_passing(error: BaseException) -> bool:
        if not is_transient(error):
            return False
        logger.warning("%s: %s; trying again", what, error)
        return True

    return patience.try_again(
        call,
        tries=context.retries + 1,
        first_pause_s=context.retry_delay_s,
        is_passing=is_passing,
        what=what,
    )


def retry_transient(task: Task[Any, Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Tell Prefect whether to run a failed task again; it hands the exception in `state.data`."""
    del task, task_run
    return isinstance(state.data, BaseException) and is_transient(state.data)
