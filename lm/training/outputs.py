"""The files of a run while it trains: three logs and the checkpoints, written by the first process.

In the other processes nothing is open, and every method does nothing.
"""

import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from lm.checkpoint.folder import CheckpointWriter
from lm.machine.distributed import Processes
from lm.training.job.job import Callbacks, TrainJob
from lm.training.job.metrics_log import Line, Metrics, MetricsLog
from lm.training.step.run import TrainingRun, snapshot
from lm.training.step.state import TrainState


@dataclass(kw_only=True)
class Outputs:
    """Logs and checkpoints of a run, and the caller who hears of each line."""

    job: TrainJob
    callbacks: Callbacks
    metrics: MetricsLog | None = None
    """Facts that the job determines."""
    timings: MetricsLog | None = None
    """Facts of the machine."""
    samples: MetricsLog | None = None
    """A text at each validation."""
    writer: CheckpointWriter | None = None
    saved: TrainState | None = None
    """State in the newest checkpoint."""
    saved_at: float = field(default_factory=time.perf_counter)

    @property
    def save_s(self) -> float:
        """Seconds that the last checkpoint took to write."""
        return 0.0 if self.writer is None else self.writer.seconds

    def write_metrics(self, step: int, metrics: Metrics) -> None:
        """Write a line that a resumed run writes with the same values."""
        self._write(self.metrics, step, metrics)

    def write_timings(self, step: int, metrics: Metrics) -> None:
        """Write a line about speed and memory."""
        self._write(self.timings, step, metrics)

    def write_sample(self, step: int, sample: Line) -> None:
        """Write a line of token ids."""
        if self.samples is not None:
            self.samples.write(step, sample)

    def _write(self, log: MetricsLog | None, step: int, metrics: Metrics) -> None:
        if log is None or not log.write(step, metrics):
            return
        if self.callbacks.on_metrics is not None:
            self.callbacks.on_metrics(step, metrics)

    def checkpoint_is_due(self, run: TrainingRun) -> bool:
        """Tell whether to save now: at a new best loss, every so many steps or minutes."""
        state, options = run.state, self.job.options
        if self.writer is None:
            return False
        if state.best_step == run.step:
            return True
        if options.checkpoint_steps and run.step % options.checkpoint_steps == 0:
            return True
        seconds = time.perf_counter() - self.saved_at
        is_time = 0 < 60.0 * options.checkpoint_minutes <= seconds
        return is_time and not self.writer.busy

    def save(self, run: TrainingRun) -> None:
        """Start to write a checkpoint, unless the newest one holds this very state."""
        if self.writer is None or self.metrics is None or self.saved is run.state:
            return
        checkpoint = snapshot(run, metrics_text=self.metrics.flush_to_disk())
        pinned = frozenset({run.state.anchor_step, run.state.best_step})
        self.writer.write(checkpoint, pinned=pinned)
        self.saved, self.saved_at = run.state, time.perf_counter()

    def wait(self) -> None:
        """Wait until the checkpoint that is being written is on the disk."""
        if self.writer is not None:
            self.writer.wait()

    def close(self) -> None:
        """Wait for the last checkpoint and close the logs, also where it could not be written."""
        with ExitStack() as stack:
            for resource in (self.samples, self.timings, self.metrics, self.writer):
                if resource is not None:
                    stack.callback(resource.close)


def open_outputs(
    job: TrainJob, callbacks: Callbacks, processes: Processes, *, metrics_text: str | None = None
) -> Outputs:
    """Open logs and writer in the first process; `metrics_text` is None for a fresh run."""
    outputs = Outputs(job=job, callbacks=callbacks)
    if processes.is_first:
        try:
            _open_files(outputs, metrics_text)
        except BaseException:
            outputs.close()
            raise
    return outputs


def _open_files(outputs: Outputs, metrics_text: str | None) -> None:
    job = outputs.job
    folder = job.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    nothing_before = None if metrics_text is None else ""
    outputs.metrics = MetricsLog(folder / "metrics.jsonl", text_before=metrics_text)
    outputs.timings = MetricsLog(folder / "timings.jsonl", text_before=nothing_before)
    outputs.samples = MetricsLog(folder / "samples.jsonl", text_before=nothing_before)
    outputs.writer = CheckpointWriter(
        job.checkpoints,
        keep=job.options.keep_checkpoints,
        on_checkpoint=outputs.callbacks.on_checkpoint,
    )
