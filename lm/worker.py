"""Training as a process of its own: `python -m lm.worker run.json`, alone or under torchrun.

This process belongs to the run, so it does what a library must not: it reads torchrun's
environment and turns SIGTERM into an exception, on which `train` saves and leaves.
"""

import os
import signal
import sys
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
    signal.signal(signal.SIGTERM, _leave)
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
        )
        if is_first:
            write_result(path, result)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    return 0


def _leave(signal_number: int, frame: FrameType | None) -> None:
    del frame
    raise SystemExit(128 + signal_number)


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
