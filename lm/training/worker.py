"""Training as a process: `python -m lm.training.worker run.json`, alone or under torchrun.

This process belongs to the run, so it does what a library must not: it reads torchrun's
environment and handles SIGTERM and SIGINT. Before each step `train` asks whether one came; if so,
all processes save and leave at the same step. After the last step a signal changes nothing: only
the weights are still to be written.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType

import torch
import torch.distributed as dist

from lm.config import RunOptions
from lm.machine.probe import choose_device
from lm.training.job import Callbacks, TrainingStoppedError
from lm.training.run_file import read_job, write_result
from lm.training.train import train


def main(arguments: list[str]) -> int:
    """Run the training that a file describes; the first process writes the result beside it."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m lm.training.worker run.json\n")
        return 2
    path = Path(arguments[0])
    stop = StopSignal()
    for number in (signal.SIGTERM, signal.SIGINT):  # a terminal sends SIGINT to its whole group
        signal.signal(number, stop.handle)
    job = read_job(path)
    is_first = _join_processes(job.options)
    try:
        result = train(job, Callbacks(stop_requested=stop.requested))
        if is_first:
            write_result(path, result)
    except TrainingStoppedError as error:
        sys.stderr.write("\n".join([str(error), *getattr(error, "__notes__", ())]) + "\n")
        return 128 + signal.SIGTERM
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    return 0


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
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    return dist.get_rank() == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
