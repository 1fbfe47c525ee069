"""Training as a process of its own: `python -m lm.worker run.json`, alone or under torchrun.

This process belongs to the run, so it does what a library must not: it reads torchrun's
environment and turns SIGTERM into an exception, on which `train` saves and leaves.
"""

import os
import signal
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType

import torch
import torch.distributed as dist

from lm.probe import choose_device
from lm.run_file import RunFile, read_run_file, write_result
from lm.train import train


def main(arguments: list[str]) -> int:
    """Run the training that a file describes; the first process writes the result beside it."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m lm.worker run.json\n")
        return 2
    path = Path(arguments[0])
    guard = TerminationGuard()
    signal.signal(signal.SIGTERM, guard.handle)
    run = read_run_file(path)
    is_first = _join_processes(run)
    try:
        result = train(
            run.model_config,
            run.train_config,
            options=run.options,
            train_shards=run.train_shards,
            valid_shards=run.valid_shards,
            output_dir=run.output_dir,
            update_guard=guard,
        )
        if is_first:
            write_result(path, result)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    return 0


class TerminationGuard(AbstractContextManager[None]):
    """Turns a signal into SystemExit: at once, or, inside the block, when the block ends."""

    def __init__(self) -> None:
        self._is_inside = False
        self._signal_number = 0

    def handle(self, signal_number: int, frame: FrameType | None) -> None:
        """Take a signal; what `signal.signal` asks for."""
        del frame
        self._signal_number = signal_number
        if not self._is_inside:
            self._leave()

    def _leave(self) -> None:
        raise SystemExit(128 + self._signal_number)

    def __enter__(self) -> None:
        self._is_inside = True

    def __exit__(self, *error: object) -> None:
        self._is_inside = False
        if self._signal_number:
            self._leave()


def _join_processes(run: RunFile) -> bool:
    """Join the group that torchrun names in the environment; tell whether this is the first."""
    if "RANK" not in os.environ:
        return True
    device = choose_device(run.options)
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    return dist.get_rank() == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
