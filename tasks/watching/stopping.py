"""How a run stops when it is asked to: where nothing is lost, and with what is done kept.

Ctrl-C presses a switch. While a stage works the press raises `RunStopped` at once; while a model
trains, or Prefect notes a state, it is obeyed at the next safe point. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

T = TypeVar("T")


class RunStopped(BaseException):
    """The run was asked to stop; its message says where. No `except Exception` may take it."""


class StopSwitch:
    """Remembers that the run was asked to stop, and says so where the work allows it."""

    def __init__(self) -> None:
        self.is_pressed = False
        self._raises = True

    def press(self) -> None:
        """Ask the run to stop; called in the main thread, by a handler of signals."""
        self.is_pressed = True
        if self._raises:
            raise RunStopped

    def check(self) -> None:
        """Stop here if the run was asked to."""
        if self.is_pressed:
            raise RunStopped

    @contextmanager
    def raising(self) -> Iterator[None]:
        """Let a press end the body wherever it is: what it has finished is kept."""
        with self._while_raising(True):
            yield

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Let a press wait until somebody asks."""
        with self._while_raising(False):
            yield

    @contextmanager
    def _while_raising(self, raises: bool) -> Iterator[None]:
        before, self._raises = self._raises, raises
        try:
            if raises:
                self.check()
            yield
        finally:
            self._raises = before


_current: ContextVar[StopSwitch | None] = ContextVar("stop_switch", default=None)


def stop_switch() -> StopSwitch:
    """Return the switch of this run; one that nobody presses where there is none."""
    return _current.get() or StopSwitch()


@contextmanager
def stopped_by(switch: StopSwitch) -> Iterator[None]:
    """Make a switch that of the body."""
    token = _current.set(switch)
    try:
        yield
    finally:
        _current.reset(token)


def unless_stopped(work: Callable[[], T]) -> T:
    """Return what a task's work returns, or the state `Cancelled` where the run was stopped.

    Prefect takes a state that a task returns as the task's own; an exception of this kind would
    show as a crash.
    """
    from prefect.states import Cancelled

    try:
        with stop_switch().raising():
            return work()
    except RunStopped as stop:
        return cast("T", Cancelled(message=f"stopped {stop}".strip()))


def result_of(state: State[T]) -> T:
    """Return what a task returned.

    Raises:
        RunStopped: The task was stopped.
    """
    if state.is_cancelled():
        raise RunStopped((state.message or "").removeprefix("stopped").strip())
    result: Any = state.result()  # not a coroutine: no task of ours is async
    return cast("T", result)
