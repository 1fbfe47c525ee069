"""Only what may pass by itself is tried again."""

import errno

import pytest

from artifacts.fetching.fetch import FetchError, UnreachableError
from tasks.context import RunContext
from tasks.execution.retry import is_transient, try_again_in_flow
from tasks.tracking.runs import TrackingTarget


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


def test_what_the_flow_does_itself_is_tried_again_as_its_tasks_are() -> None:
    """The lease and the ranges of a mapped stage are the flow's own work."""
    answers = iter([ConnectionResetError(), ConnectionResetError(), "done"])

    def call() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    target = TrackingTarget(uri="", experiment="", artifact_location="")
    context = RunContext(store_url="", root="", workers=1, tracking=target, retries=2)
    assert try_again_in_flow(context, call, "the stage") == "done"
    with pytest.raises(ValueError, match="d_model"):
        try_again_in_flow(context, lambda: int("d_model"), "the stage")
