"""Signals to a command that performs a flow: the first one stops it where nothing is lost."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.states import Cancelled

from flows.cli.serving import stopping
from flows.cli.serving.performing import perform_flow
from flows.cli.serving.stopping import SAME_S, SIGNALS, stopping_on_signals
from tasks.watching.events import Event, Leaving, Noted, observed_by
from tasks.watching.stopping import RunStopped, stop_switch


class LeftAtOnceError(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Event]]:
    """What a run tells; this process and its handlers of signals outlive it."""

    def leave(code: int) -> None:
        raise LeftAtOnceError(code)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)  # as before any run
    before = {number: signal.getsignal(number) for number in SIGNALS}
    events: list[Event] = []
    with observed_by(events.append):
        yield events
    for number, handler in before.items():
        signal.signal(number, handler)


@flow(persist_result=False)
def signalled_flow() -> Any:
    """Get a SIGTERM and the SIGTERM of a parent that passes it on, and end what it is at."""
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    pressed = stop_switch().is_pressed
    return Cancelled(message=f"stopped step 3, {pressed=}")


def test_sigterm_in_a_flow_is_ours_and_not_prefects(
    prefect_server: None, heard: list[Event], tmp_path: Path
) -> None:
    """It waits until the work says where it stopped; Prefect's own handler would crash the run."""
    with (
        stopping_on_signals(tmp_path) as switch,
        pytest.raises(RunStopped, match="step 3, pressed=True"),
    ):
        perform_flow(signalled_flow, {}, switch, verbose=True)
    assert [event for event in heard if isinstance(event, Noted)] == [Noted(text=stopping.SAVING)]
    assert Leaving() not in heard


def test_a_second_signal_takes_the_view_away_and_leaves(
    heard: list[Event], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """But not one of the same moment, which is the first one again."""
    with stopping_on_signals(tmp_path) as switch, switch.holding():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGHUP)
        assert heard == [Noted(text=stopping.SAVING)]
        time.sleep(SAME_S)
        with pytest.raises(LeftAtOnceError):
            signal.raise_signal(signal.SIGINT)
    assert heard[1:] == [Leaving()]
    assert "stopped at once; resume with: " in capfd.readouterr().err
