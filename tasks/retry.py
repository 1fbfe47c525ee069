"""Which failures are worth trying again: storage and network, nothing else."""

import errno
from typing import Any

from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from artifacts.fetching.fetch import UnreachableError

FINAL_ERRNOS = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EEXIST,
        errno.EISDIR,
        errno.ENOENT,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    }
)
"""A full disk or a missing file is the same a minute later."""

NETWORK_MODULES = ("aiohttp", "botocore", "aiobotocore", "fsspec", "gcsfs", "adlfs", "urllib3")
"""Libraries below fsspec whose own exceptions mean the storage, not our input."""


def is_transient(error: BaseException) -> bool:
    """Tell a storage or network error, which may pass, from one that stays.

    >>> is_transient(ConnectionResetError()), is_transient(ValueError("d_model")), (
    ...     is_transient(MemoryError())
    ... )
    (True, False, False)
    """
    if isinstance(error, (FileNotFoundError, PermissionError, FileExistsError, UnreachableError)):
        return False
    if isinstance(error, OSError):
        return error.errno not in FINAL_ERRNOS
    return type(error).__module__.partition(".")[0] in NETWORK_MODULES


def retry_transient(task: Task[Any, Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Tell Prefect whether to run a failed task again; it hands the exception in `state.data`."""
    del task, task_run
    return isinstance(state.data, BaseException) and is_transient(state.data)
