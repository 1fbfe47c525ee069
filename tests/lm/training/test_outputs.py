"""Tests of `lm/training/outputs.py`: what a training leaves open."""

import errno
from pathlib import Path
from typing import IO, Any

import pytest

from lm.checkpoint.durable import Checkpoint
from lm.config import ModelConfig, RunOptions, TrainConfig
from lm.machine.distributed import Processes
from lm.training.job.job import Callbacks, TrainJob
from lm.training.outputs import open_outputs

TINY = ModelConfig(vocab_size=64, context_length=16, d_model=32, num_layers=2, num_heads=2, d_ff=64)


def job_in(folder: Path) -> TrainJob:
    """A training that is never begun."""
    return TrainJob(
        model_config=TINY,
        train_config=TrainConfig(),
        options=RunOptions(),
        train_shards=[],
        valid_shards=[],
        output_dir=folder,
    )


def full(*_args: Any, **_kwargs: Any) -> None:
    """Fail as a full disk does."""
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[IO[Any]]:
    """Collect every file that is opened by its path."""
    files: list[IO[Any]] = []
    start = Path.open

    def note(self: Path, *args: Any, **kwargs: Any) -> IO[Any]:
        files.append(start(self, *args, **kwargs))
        return files[-1]

    monkeypatch.setattr(Path, "open", note)
    return files


def test_a_checkpoint_that_cannot_be_written_leaves_no_log_open(
    tmp_path: Path, opened: list[IO[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of the writer's thread is raised by `close`, after all logs are closed."""
    monkeypatch.setattr("lm.checkpoint.folder.write_checkpoint", full)
    outputs = open_outputs(job_in(tmp_path), Callbacks(), Processes())
    assert outputs.writer is not None
    outputs.writer.write(Checkpoint(step=1, tensors={}, facts={}))
    with pytest.raises(OSError, match="No space left"):
        outputs.close()
    assert len(opened) >= 3
    assert all(file.closed for file in opened)


def test_a_log_that_cannot_be_opened_closes_those_before(
    tmp_path: Path, opened: list[IO[Any]]
) -> None:
    """A folder where the last log should be ends the training before it begins."""
    (tmp_path / "samples.jsonl").mkdir()
    with pytest.raises(IsADirectoryError):
        open_outputs(job_in(tmp_path), Callbacks(), Processes())
    assert len(opened) >= 2
    assert all(file.closed for file in opened)
