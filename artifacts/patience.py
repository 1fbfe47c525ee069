"""Storage and network errors that may pass, and trying again with pauses that grow.

Each request to a store is tried again here for some seconds; a stage is tried again as a whole for
longer (`tasks/execution/retry.py`). Every request of ours may be repeated: what is written is
unique to its writer, and an exclusive write that comes second reads what is there.
"""

import errno
import logging
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

logger = logging.getLogger(__name__)

FINAL_ERRNOS = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EEXIST,
        errno.EINVAL,
        errno.EISDIR,
        errno.ENOENT,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
        errno.EPERM,
        errno.EROFS,
    }
)
"""A full disk or a missing file is the same a minute later."""

NETWORK_MODULES = ("aiohttp", "botocore", "aiobotocore", "fsspec", "gcsfs", "adlfs", "urllib3")
"""Libraries below fsspec whose own exceptions mean the storage, not our input."""

REQUESTS = frozenset(
    ("cat_file", "cp_file", "exists", "find", "info", "ls", "pipe_file", "put_file", "rm_file")
)
"""Methods of an fsspec filesystem that are one request or may be repeated as a whole."""

TRIES = 6
FIRST_PAUSE_S = 0.1
"""Six tries with pauses of 0.1 s, twice as long each, give up after 3 s."""


def is_transient(error: BaseException) -> bool:
    """Tell a storage or network error, which may pass, from one that stays.

    >>> is_transient(ConnectionResetError()), is_transient(ValueError("d_model")), (
    ...     is_transient(MemoryError())
    ... )
    (True, False, False)
    """
    if isinstance(error, (FileNotFoundError, PermissionError, FileExistsError)):
        return False
    if isinstance(error, OSError):
        return error.errno not in FINAL_ERRNOS
    return type(error).__module__.partition(".")[0] in NETWORK_MODULES


def try_again(
    call: Callable[[], T],
    *,
    tries: int = TRIES,
    first_pause_s: float = FIRST_PAUSE_S,
    is_passing: Callable[[BaseException], bool] = is_transient,
    what: str = "a request to the store",
) -> T:
    """Return what a call gives, tried again after errors that may pass; then raise the last one.

    Each pause is twice the one before, times a random 0.5 to 1.5: those that failed together do not
    come back together.
    """
    for attempt in range(tries):
        try:
            return call()
        except Exception as error:
            if attempt + 1 == tries or not is_passing(error):
                raise
            pause_s = first_pause_s * 2**attempt * random.uniform(0.5, 1.5)
            logger.debug("%s failed (%s); tried again in %.1f s", what, error, pause_s)
            time.sleep(pause_s)
    raise AssertionError("unreachable: the last try returns or raises")


class PatientFilesystem:
    """An fsspec filesystem that tries its requests again."""

    def __init__(self, fs: Any) -> None:
        self.impatient = fs

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.impatient, name)
        return partial(_request, attribute) if name in REQUESTS else attribute

    def __reduce__(self) -> tuple[type["PatientFilesystem"], tuple[Any]]:
        return PatientFilesystem, (self.impatient,)


def _request(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return try_again(partial(method, *args, **kwargs))
