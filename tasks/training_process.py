"""Training in several processes: torchrun as a child of the task, so no rank knows Prefect."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lm.run_file import RunFile
    from lm.train import TrainResult

SAVE_TIMEOUT_S = 120.0
"""Seconds that the processes have to save and leave when this run is stopped."""


def train_in_processes(run: RunFile) -> TrainResult:
    """Train under torchrun on this machine and return what the first process reports.

    However this call ends, the processes have ended too: they are asked to save and leave.

    Raises:
        RuntimeError: The training failed; its own message stands on standard error.
    """
    from lm.distributed import torchrun_command
    from lm.run_file import read_result, write_run_file

    path = run.output_dir / "run.json"
    write_run_file(path, run)
    process = subprocess.Popen(torchrun_command(path, run.options.num_processes))
    try:
        code = process.wait()
    finally:
        _end(process)
    if code:
        raise RuntimeError(
            f"training in {run.options.num_processes} processes ended with exit code {code}; "
            "its message stands above; run.num_processes=1 trains in this process"
        )
    return read_result(path)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(SAVE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
