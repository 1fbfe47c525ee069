"""One process or many: the few operations in which they differ.

Each process computes its rows of the global batch; gradients are summed before the update, so
every process takes the same step. `train` finds the group that `lm/training/worker.py` has set up.
Gradients are summed by hand in fixed buckets: torch's wrapper chooses its buckets anew after the
first step, which would make a resumed run differ from an undisturbed one in the last bits.
"""

import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

BUCKET_BYTES = 25 * 2**20
"""Gradients sent together; the default of torch's DistributedDataParallel."""


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process among those that share a run."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0


def current_processes() -> Processes:
    """Return this process's place in torch's default group; alone where there is none."""
    if not (dist.is_available() and dist.is_initialized()):
        return Processes()
    return Processes(rank=dist.get_rank(), world_size=dist.get_world_size())


def sum_gradients(parameters: Iterable[nn.Parameter], processes: Processes) -> None:
    """Replace each gradient by its sum over the processes."""
    if processes.world_size == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    buckets = [(bucket, torch.cat([g.flatten() for g in bucket])) for bucket in _buckets(gradients)]
    works = [dist.all_reduce(flat, async_op=True) for _, flat in buckets]
    for (bucket, flat), work in zip(buckets, works, strict=True):
        if work is not None:
            work.wait()
        parts = torch.split(flat, [gradient.numel() for gradient in bucket])
        for gradient, part in zip(bucket, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    size_bytes = 0
    for gradient in gradients:
        bucket.append(gradient)
        size_bytes += gradient.numel() * gradient.element_size()
        if size_bytes >= BUCKET_BYTES:
            yield bucket
            bucket, size_bytes = [], 0
    if bucket:
        yield bucket


def sum_tensor(tensor: Tensor, processes: Processes) -> Tensor:
    """Return the sum of a tensor over the processes, in place where there are several."""
    if processes.world_size > 1:
        dist.all_reduce(tensor)
    return tensor


def agree(value: float, processes: Processes, device: torch.device) -> float:
    """Return the first process's value, so that all make the same decision about the clock."""
    if processes.world_size == 1:
        return value
    shared = torch.tensor(value, dtype=torch.float64, device=device)
    dist.broadcast(shared, src=0)
    return float(shared)


def any_process(value: bool, processes: Processes, device: torch.device) -> bool:
    """Tell every process whether the value is true in one of them."""
    if processes.world_size == 1:
        return value
    count = torch.tensor(int(value), device=device)
    dist.all_reduce(count)
    return bool(count)


def wait_for_all(processes: Processes) -> None:
    """Wait until every process has reached this call."""
    if processes.world_size > 1:
        dist.barrier()


def torchrun_command(run_file: Path, num_processes: int, launcher: str = "") -> list[str]:
    """Return the command that runs `lm.training.worker` in several processes.

    They are on this machine, and save and leave when this process dies; unless a launcher, a
    torchrun with its options, starts them elsewhere.
    """
    worker = ["--module", "lm.training.worker", str(run_file)]
    if launcher:
        return [*shlex.split(launcher), *worker]
    here = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*here, f"--nproc-per-node={num_processes}", *worker, str(os.getpid())]
