"""Training as a process: `python -m lm.training.worker run.json`, alone or under torchrun.

This process belongs to the run, so it does what a library must not: it reads torchrun's
environment and handles SIGTERM and SIGINT. Before each step `train` asks whether one came; if so,
all processes save and leave at the same step. After the last step a signal changes nothing: only
the weights are still to be written. Started with the number of a process, it does the same when
that process dies: torchrun would train on, and nobody would read what comes of it.
"""

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

import psutil
import torch
import torch.distributed as dist

from lm.config import RunOptions
from lm.machine.device_errors import DEVICE_ERROR_EXIT, is_device_error
from lm.machine.probe import choose_device
from lm.training.job.job import Callbacks, TrainingStoppedError
from lm.training.job.run_file import read_job, write_result
from lm.training.train import train

WATCH_S = 1.0
"""Seconds between two looks at the process that this one ends with."""

LEAVE_S = 60.0
"""Seconds that a training has to save when that process died."""


def main(arguments: list[str]) -> int:
    """Run the training that a file describes; the first process writes the result beside it."""
    if len(arguments) not in (1, 2):
        sys.stderr.write("usage: python -m lm.training.worker run.json [process to end with]\n")
        return 2
    path = Path(arguments[0])
    stop = StopSignal()
    for number in (signal.SIGTERM, signal.SIGINT):  # a terminal sends SIGINT to its whole group
        signal.signal(number, stop.handle)
    if len(arguments) == 2:
        end_with(int(arguments[1]))
    job = read_job(path)
    is_first = _join_processes(job.options)
    try:
        result = train(job, Callbacks(stop_requested=stop.requested))
        if is_first:
            write_result(path, result)
    except TrainingStoppedError as error:
        sys.stderr.write("\n".join([str(error), *getattr(error, "__notes__", ())]) + "\n")
        return 128 + signal.SIGTERM
    except RuntimeError as error:
        if not is_device_error(error):
            raise
        sys.stderr.write(f"the device failed: {error}\n")
        return DEVICE_ERROR_EXIT
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    return 0


def end_with(pid: int) -> None:
    """Watch a process from a thread; when it dies, save and leave, by force after a minute."""
    watched = psutil.Process(pid)

    def watch() -> None:
        with suppress(psutil.NoSuchProcess):  # it may go between two questions
            while watched.is_running() and watched.status() != psutil.STATUS_ZOMBIE:
                time.sleep(WATCH_S)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(LEAVE_S)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


class StopSignal:
    """Remembers a signal until training asks; before the first question it ends the process."""

    def __init__(self) -> None:
        self._came = False
        self._is_asked = False

    def handle(self, signal_number: int, frame: FrameType | None) -> None:
        """Note a signal; `signal.signal` calls this."""
        del frame
        self._came = True
        if not self._is_asked:
            raise SystemExit(128 + signal_number)

    def requested(self) -> bool:
        """Tell whether the signal came."""
        self._is_asked = True
        return self._came


def _join_processes(options: RunOptions) -> bool:
    """Join the group that torchrun names in the environment; tell whether this is the first."""
    if "RANK" not in os.environ:
        return True
    device = choose_device(options)
    if device == "cuda":
        # Named before the first collective: else NCCL guesses a device, for barriers too.
        own = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(own)
        dist.init_process_group("nccl", device_id=own)
    else:
        dist.init_process_group("gloo")
    return dist.get_rank() == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
