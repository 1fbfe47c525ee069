"""Ctrl-C while a run works: the first one saves and stops, the second one stops at once."""

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from flows.cli.options import program
from flows.settings import EXPERIMENT, tracking_uri
from tasks.watching.events import Leaving, Noted, Observer, emit, observer_of_run
from tasks.watching.stopping import StopSwitch, stopped_by

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, `kill`, and a closed terminal."""
INTERRUPTED = 130
"""Exit code of a program that Ctrl-C has ended, as shells have it: 128 + SIGINT."""
FAREWELL_TIMEOUT_S = 5.0
"""Seconds in which a run that stops at once says so to MLflow and Prefect; the next run does it
where this is not enough."""
SAME_S = 0.5
"""Seconds in which a second signal is the first one again: who signals a whole group, as `timeout`
and a closing terminal do, often signals its members too, and `make` passes SIGTERM on."""
SAVING = "saving, then stopping; press Ctrl-C again to stop at once"


@contextmanager
def stopping_on_signals(root: Path) -> Iterator[StopSwitch]:
    """Let the first signal press the body's switch and the second one end this process."""
    switch = StopSwitch()
    came = -SAME_S

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal came
        del number, frame
        if time.monotonic() - came < SAME_S:
            return
        if switch.is_pressed:
            stop_at_once(root)
        came = time.monotonic()
        emit(Noted(text=SAVING))
        switch.press()

    # SIGINT may come ignored, from a shell's `&`; SIGHUP from `nohup`, and then it stays so.
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        if number != signal.SIGHUP or before[number] != signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        with stopped_by(switch):
            yield switch
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def stop_at_once(root: Path) -> None:
    """End this process now, and its runs where they are shown."""
    # The observer is of this thread; and what it was doing, this handler has interrupted.
    farewell = threading.Thread(target=_take_leave, args=(root, observer_of_run()), daemon=True)
    farewell.start()
    farewell.join(FAREWELL_TIMEOUT_S)
    with suppress(OSError):
        show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
        os.write(2, f"{show_cursor}\nstopped at once; resume with: {command_line()}\n".encode())
    os._exit(INTERRUPTED)


def _take_leave(root: Path, observer: Observer | None) -> None:
    if observer:
        observer(Leaving())
    if "mlflow" not in sys.modules:
        return  # no run has begun
    from flows.dead_runs import end_own_runs
    from tasks.tracking.runs import TrackingTarget

    end_own_runs(TrackingTarget(uri=tracking_uri(root), experiment=EXPERIMENT))


def command_line() -> str:
    """Return this command as one would type it."""
    return shlex.join([*program(), *sys.argv[1:]])
