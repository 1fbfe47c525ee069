"""A flow performed in the process of a command, which alone says what a signal does to it."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from tasks.watching.stopping import StopSwitch, result_of

CAPTURE = "capture_sigterm"
"""What Prefect's engine wraps each flow in; for its workers, which no command is."""


def perform_flow(
    flow: Any, parameters: dict[str, Any], switch: StopSwitch, *, verbose: bool
) -> dict[str, Any]:
    """Return what a flow returns; the switch waits until the work says that it may stop.

    Raises:
        RunStopped: The run was stopped.
    """
    from flows.logs import engines_loaded, send_last_records

    with engines_loaded(verbose=verbose), switch.holding(), signals_left_to_us():
        state = flow(**parameters, return_state=True)
        send_last_records()
        summary: dict[str, Any] = result_of(state)
        return summary


@contextmanager
def signals_left_to_us() -> Iterator[None]:
    """Keep our handler of SIGTERM while a flow runs.

    Prefect's would raise at once, wherever the work is: a training would save nothing, and the run
    would show as crashed.
    """
    from prefect import flow_engine

    usual = getattr(flow_engine, CAPTURE, None)
    if usual is None:  # another version of Prefect: a signal ends the run as Prefect has it
        yield
        return
    setattr(flow_engine, CAPTURE, nullcontext)
    try:
        yield
    finally:
        setattr(flow_engine, CAPTURE, usual)
