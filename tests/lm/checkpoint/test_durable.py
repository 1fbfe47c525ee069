"""Tests of `lm/checkpoint/durable.py`."""

import json
from pathlib import Path

from lm.checkpoint.durable import write_json


def test_json_is_written_in_folders_that_are_not_there_yet(tmp_path: Path) -> None:
    """The file is there, whole, with nothing beside it."""
    path = tmp_path / "a" / "b" / "value.json"
    write_json(path, {"x": 1})
    write_json(path, {"x": 2})
    assert json.loads(path.read_text()) == {"x": 2}
    assert list(path.parent.iterdir()) == [path]
