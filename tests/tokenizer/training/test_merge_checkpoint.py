"""A checkpoint of merges that cannot be used never stops a training."""

from pathlib import Path

import numpy as np
import pytest

from tokenizer.training.merge_checkpoint import MergeCheckpoint

WHOLE = {
    "identity": np.array("me"),
    "cells": np.zeros(3, np.int32),
    "merge_left": np.zeros(2, np.int32),
    "merge_right": np.zeros(2, np.int32),
    "merge_count": np.zeros(2, np.int64),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A checkpoint that is whole."""
    path = tmp_path / "merges.checkpoint"
    with path.open("wb") as file:
        np.savez(file, **WHOLE)  # type: ignore[arg-type]  # its stub takes the names for an option
    return path


def test_whole_checkpoint_is_read(path: Path) -> None:
    """The baseline of what follows."""
    assert MergeCheckpoint(path, "me").load(2) is not None
    assert MergeCheckpoint(path, "me").load(1) is None
    assert MergeCheckpoint(path, "other").load(2) is None


def test_cut_or_zeroed_checkpoint_is_as_none(path: Path) -> None:
    """A power cut can leave an empty file, or zeros."""
    data = path.read_bytes()
    for damaged in [b"", b"\0" * len(data), b"text", b"\x80\x04.", *_cuts(data)]:
        path.write_bytes(damaged)
        assert MergeCheckpoint(path, "me").load(2) is None


def _cuts(data: bytes) -> list[bytes]:
    return [data[: len(data) * share // 8] for share in range(1, 8)]


@pytest.mark.parametrize(
    "change",
    [{"cells": np.zeros(3)}, {"merge_left": np.zeros((2, 1), np.int32)}, {"cells": np.array(1)}],
)
def test_arrays_of_another_shape_are_as_none(
    path: Path, change: dict[str, np.typing.NDArray[np.float64]]
) -> None:
    """They would be read beyond their ends."""
    with path.open("wb") as file:
        np.savez(file, **(WHOLE | change))  # type: ignore[arg-type]  # as above
    assert MergeCheckpoint(path, "me").load(2) is None
