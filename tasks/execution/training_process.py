"""Training as a child of the task, so no rank knows Prefect: torchrun, or one process for a GPU.

After a CUDA error a process can use its GPU no more; a retry of the task starts a fresh one, which
resumes from the newest checkpoint.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from artifacts.building.staging import local_staging
from artifacts.identity import ArtifactKey
from artifacts.store import Store
from tasks.watching.progress import no_guard
from tasks.watching.stopping import stop_switch

if TYPE_CHECKING:
    from lm.training.job.job import TrainJob, TrainResult

OnCheckpoint = Callable[[int, Path], None]

SAVE_TIMEOUT_S = 120.0
"""Seconds that the processes have to save and leave when this run is stopped."""

POLL_INTERVAL_S = 0.5
"""Seconds between two looks at the processes and their checkpoints."""


class DeviceFailedError(OSError):
    """The GPU failed under a training; in a fresh process it may work, so the task tries again."""


def needs_own_process(job: TrainJob) -> bool:
    """Tell whether a training runs in a child: in several processes, or on a GPU."""
    from lm.machine.probe import choose_device

    return job.options.num_processes > 1 or choose_device(job.options) == "cuda"


def steps_told(job: TrainJob) -> int:
    """Return the step of the last line of metrics, 0 without one."""
    path = job.output_dir / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for line in reversed(lines):
        try:
            return int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            continue  # the last one is being written
    return 0


def train_in_processes(
    job: TrainJob, *, on_checkpoint: OnCheckpoint, guard: Callable[[], None] = no_guard
) -> TrainResult:
    """Train in processes of this machine and return what the first one reports.

    However this call ends, the processes have ended too: they are asked to save and leave.
    `on_checkpoint` gets (step, folder) of the newest checkpoint each time there is a newer one;
    the folder may be rotated away meanwhile. `guard` is called often, and raises to stop the work.

    Raises:
        RuntimeError: The training failed; its own message is on standard error.
        DeviceFailedError: The GPU failed.
        RunStopped: The run was stopped.
    """
    from lm.machine.determinism import CUBLAS_SETTING
    from lm.machine.distributed import torchrun_command
    from lm.training.job.run_file import read_result, write_job

    path = job.output_dir / "run.json"
    write_job(path, job)
    seen = newest_step(job)
    # torchrun's agent ends what is left of its processes after this time, by default 30 s.
    environment = os.environ | {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(int(SAVE_TIMEOUT_S - 10))}
    if job.options.deterministic:
        environment |= CUBLAS_SETTING
    command = [sys.executable, "-m", "lm.training.worker", str(path), str(os.getpid())]
    if job.options.num_processes > 1:
        command = torchrun_command(path, job.options.num_processes, job.options.launcher)
    process = subprocess.Popen(command, env=environment)
    try:
        while process.poll() is None:
            guard()
            seen = _report_newer(job, seen, on_checkpoint)
            time.sleep(POLL_INTERVAL_S)
    finally:
        _end(process)
        _report_newer(job, seen, on_checkpoint)
    stop_switch().check()  # Ctrl-C reaches the processes too
    check_exit(process.returncode, job.options.num_processes)
    return read_result(path)


def check_exit(code: int, num_processes: int) -> None:
    """Raise what the exit code of a training means."""
    from lm.machine.device_errors import DEVICE_ERROR_EXIT

    if code == DEVICE_ERROR_EXIT:
        raise DeviceFailedError("the GPU failed under the training; its message is above")
    if code:
        way_out = "; run.num_processes=1 trains in one process" if num_processes > 1 else ""
        processes = f"{num_processes} processes" if num_processes > 1 else "a process of its own"
        raise RuntimeError(
            f"training in {processes} ended with exit code {code}; its message is above{way_out}"
        )


def _report_newer(job: TrainJob, seen: int, on_checkpoint: OnCheckpoint) -> int:
    from lm.checkpoint.folder import checkpoint_path

    step = newest_step(job)
    if step > seen:
        on_checkpoint(step, checkpoint_path(job.checkpoints, step))
    return step


def newest_step(job: TrainJob) -> int:
    """Return the step of the newest checkpoint, -1 where there is none."""
    from lm.checkpoint.folder import list_checkpoints

    checkpoints = list_checkpoints(job.checkpoints)
    return checkpoints[-1][0] if checkpoints else -1


def step_reached(store: Store, key: ArtifactKey) -> int:
    """Return the newest step that stopped attempts on this machine have kept; 0 where none has.

    Read off the folders' names, because torch takes seconds to load.
    """
    found = local_staging(store, key).glob("*/work/checkpoints/step-*")
    names = [path.name.removeprefix("step-") for path in found]
    return max((int(name) for name in names if name.isdecimal()), default=0)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(SAVE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
