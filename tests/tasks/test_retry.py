"""Only what may pass by itself is tried again."""

import errno

import pytest

from artifacts.fetching.fetch import FetchError, UnreachableError
from tasks.retry import is_transient


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        OSError(errno.EIO, "input/output error"),
        FetchError("the network kept failing"),
    ],
)
def test_storage_and_network_errors_are_tried_again(error: Exception) -> None:
    """They may be gone a few seconds later."""
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("d_model (100)"),
        TypeError("no number"),
        MemoryError(),
        RuntimeError("out of memory"),
        FileNotFoundError(errno.ENOENT, "no such file"),
        UnreachableError("cannot be reached", "no route to host"),
        PermissionError(errno.EACCES, "not yours"),
        OSError(errno.ENOSPC, "no space left on device"),
        KeyboardInterrupt(),
    ],
)
def test_mistakes_and_full_resources_fail_at_once(error: BaseException) -> None:
    """They are the same a minute later."""
    assert not is_transient(error)
