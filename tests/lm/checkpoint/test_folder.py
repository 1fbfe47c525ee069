"""A damaged checkpoint gives way to the one before, whatever the damage."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lm.checkpoint.durable import STATE_NAME, TENSORS_NAME, Checkpoint, write_checkpoint
from lm.checkpoint.folder import checkpoint_path, list_checkpoints, newest_intact


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two checkpoints."""
    for step in (1, 2):
        checkpoint = Checkpoint(step=step, tensors={"a": torch.ones(2)}, facts={"state": step})
        write_checkpoint(checkpoint_path(tmp_path, step), checkpoint)
    return tmp_path


def _write_state(text: str) -> Callable[[Path], object]:
    return lambda path: (path / STATE_NAME).write_text(text)


@pytest.mark.parametrize(
    "damage",
    [
        *map(_write_state, ["", "\0" * 50, "[]", "7", "{}", '{"sha256": 1}', "[" * 10**5]),
        lambda path: (path / STATE_NAME).unlink(),
        lambda path: (path / TENSORS_NAME).write_bytes(b"\0" * 100),
        lambda path: (path / TENSORS_NAME).unlink(),
    ],
)
def test_damaged_checkpoint_gives_way(folder: Path, damage: Callable[[Path], object]) -> None:
    """Empty, zeros, cut, JSON of another shape: the one before is used."""
    damage(checkpoint_path(folder, 2))
    found = newest_intact(folder, facts=["state"])
    assert found is not None
    assert found.step == 1


def test_checkpoint_without_a_fact_or_of_another_step_gives_way(folder: Path) -> None:
    """Its hash is right, and it is of no use."""
    write_checkpoint(checkpoint_path(folder, 3), Checkpoint(step=3, tensors={}, facts={}))
    checkpoint_path(folder, 2).rename(checkpoint_path(folder, 4))
    found = newest_intact(folder, facts=["state"])
    assert found is not None
    assert found.step == 1


def test_other_folders_are_no_checkpoints(folder: Path) -> None:
    """Whatever else begins with the same word."""
    for name in ("step-x", "step-", "step-0000000²", "step-00000009.bak"):
        (folder / name).mkdir()
    assert [step for step, _ in list_checkpoints(folder)] == [1, 2]
    assert json.loads((checkpoint_path(folder, 1) / STATE_NAME).read_text())["step"] == 1
