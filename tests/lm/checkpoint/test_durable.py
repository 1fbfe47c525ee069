"""Tests of `lm/checkpoint/durable.py`."""

import json
import os
from pathlib import Path

import pytest
import torch

from lm.checkpoint.durable import Checkpoint, write_checkpoint, write_json


def record_flushes(monkeypatch: pytest.MonkeyPatch, path: Path) -> list[tuple[int, bool]]:
    """Collect what is flushed: its inode, and whether there was something at `path` by then."""
    flushed: list[tuple[int, bool]] = []
    monkeypatch.setattr(
        os, "fsync", lambda file: flushed.append((os.fstat(file).st_ino, path.exists()))
    )
    return flushed


def test_json_is_written_in_folders_that_are_not_there_yet(tmp_path: Path) -> None:
    """The file is there, whole, with nothing beside it."""
    path = tmp_path / "a" / "b" / "value.json"
    write_json(path, {"x": 1})
    write_json(path, {"x": 2})
    assert json.loads(path.read_text()) == {"x": 2}
    assert list(path.parent.iterdir()) == [path]


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut finds it whole or not at all: its files and itself, then the folder it is in."""
    path = tmp_path / "step-1"
    flushed = record_flushes(monkeypatch, path)
    write_checkpoint(path, Checkpoint(step=1, tensors={"x": torch.ones(2)}, facts={}))
    whole = [(place.stat().st_ino, False) for place in (*path.iterdir(), path)]
    assert sorted(flushed[:-1]) == sorted(whole)
    assert flushed[-1] == (tmp_path.stat().st_ino, True)


def test_json_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a checkpoint."""
    path = tmp_path / "value.json"
    flushed = record_flushes(monkeypatch, path)
    write_json(path, {"x": 1})
    assert flushed == [(path.stat().st_ino, False)]


def test_a_checkpoint_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """NaN is no JSON; the tensors are written by then."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_checkpoint(
            tmp_path / "step-1",
            Checkpoint(step=1, tensors={"x": torch.ones(2)}, facts={"loss": float("nan")}),
        )
    assert not list(tmp_path.iterdir())
