"""The checkpoints of one run: named by step, written in a thread, old ones removed."""

import logging
import re
import shutil
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from lm.checkpoint.durable import (
    PARTIAL_PREFIX,
    Checkpoint,
    DamagedCheckpointError,
    read_checkpoint,
    write_checkpoint,
)

logger = logging.getLogger(__name__)

_PREFIX = "step-"
_NAME = re.compile(_PREFIX + "[0-9]{8,}")


def checkpoint_path(folder: Path, step: int) -> Path:
    """Name the checkpoint of a step."""
    return folder / f"{_PREFIX}{step:08d}"


def list_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """List (step, path) of the checkpoints in a folder, oldest first, damaged ones included."""
    if not folder.is_dir():
        return []
    names = (path.name for path in folder.glob(f"{_PREFIX}*"))
    steps = [int(name.removeprefix(_PREFIX)) for name in names if _NAME.fullmatch(name)]
    return sorted((step, checkpoint_path(folder, step)) for step in steps)


def newest_intact(folder: Path, *, facts: Collection[str] = ()) -> Checkpoint | None:
    """Read the newest checkpoint whose bytes are right and that has these facts; None without."""
    for step, path in reversed(list_checkpoints(folder)):
        try:
            checkpoint = read_checkpoint(path)
        except DamagedCheckpointError as error:
            logger.warning("falling back to the checkpoint before: %s", error)
            continue
        if checkpoint.step == step and checkpoint.facts.keys() >= set(facts):
            return checkpoint
        logger.warning("falling back to the checkpoint before: %s is of another shape", path)
    return None


def rotate(folder: Path, *, keep: int, pinned: frozenset[int] = frozenset()) -> None:
    """Remove all checkpoints but the `keep` newest and those of the `pinned` steps."""
    checkpoints = list_checkpoints(folder)
    for step, path in checkpoints[: max(0, len(checkpoints) - keep)]:
        if step not in pinned:
            doomed = path.with_name(PARTIAL_PREFIX + path.name)  # nobody may find half a checkpoint
            path.rename(doomed)
            shutil.rmtree(doomed)


class CheckpointWriter:
    """Writes one checkpoint at a time in a thread of its own.

    An error in the thread is raised by the next call. `on_checkpoint(step, path)` runs in the
    thread. The path exists until it returns, and the next checkpoint waits for that.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep: int,
        on_checkpoint: Callable[[int, Path], None] | None = None,
    ) -> None:
        """Remove what a killed writer left behind; the folder belongs to one run at a time."""
        self._folder = folder
        self._keep = keep
        self._on_checkpoint = on_checkpoint
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoints")
        self._pending: Future[None] | None = None
        self.seconds = 0.0
        """What the last checkpoint took, `on_checkpoint` included."""
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob(f"{PARTIAL_PREFIX}*"):
            shutil.rmtree(path, ignore_errors=True)

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is still being written."""
        return self._pending is not None and not self._pending.done()

    def write(self, checkpoint: Checkpoint, *, pinned: frozenset[int] = frozenset()) -> None:
        """Wait for the checkpoint before, then start to write this one."""
        self.wait()
        self._pending = self._executor.submit(self._write, checkpoint, pinned)

    def _write(self, checkpoint: Checkpoint, pinned: frozenset[int]) -> None:
        started = time.perf_counter()
        path = checkpoint_path(self._folder, checkpoint.step)
        write_checkpoint(path, checkpoint)
        if self._on_checkpoint is not None:
            self._on_checkpoint(checkpoint.step, path)
        rotate(self._folder, keep=self._keep, pinned=pinned)
        self.seconds = time.perf_counter() - started

    def wait(self) -> None:
        """Wait until nothing is being written, and raise what went wrong."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait, then stop the thread."""
        try:
            self.wait()
        finally:
            self._executor.shutdown(wait=True)
