"""Tests of `lm/training/job/metrics_log.py`."""

import json
from pathlib import Path

import pytest

from lm.training.job.metrics_log import MetricsLog


def test_a_resumed_log_does_not_repeat_lines(tmp_path: Path) -> None:
    """Lines with the same names, up to the last step, are already in the file."""
    path = tmp_path / "m.jsonl"
    log = MetricsLog(path)
    for step in (1, 2, 3):
        assert log.write(step, {"train/loss": step / 2})
    assert log.write(2, {"valid/loss": 9.0})
    log.close()
    log = MetricsLog(path, text_before="")
    assert not log.write(3, {"train/loss": 1.5})
    assert log.write(3, {"valid/loss": 8.0})
    assert log.write(4, {"train/loss": 2.0})
    log.close()
    steps = [json.loads(line)["step"] for line in path.read_text().splitlines()]
    assert steps == [1, 2, 3, 2, 3, 4]


def test_a_line_that_was_cut_off_is_written_again(tmp_path: Path) -> None:
    """What a kill left of a line is removed."""
    path = tmp_path / "m.jsonl"
    path.write_text('{"step": 1, "a": 1}\n{"step": 2, "a"')
    log = MetricsLog(path, text_before="")
    assert log.write(2, {"a": 2})
    log.close()
    assert path.read_text() == '{"step": 1, "a": 1}\n{"step": 2, "a": 2}\n'


def test_a_new_run_starts_an_empty_log(tmp_path: Path) -> None:
    """Without a checkpoint an old log does not belong to this run."""
    path = tmp_path / "m.jsonl"
    path.write_text('{"step": 1, "a": 1}\n')
    MetricsLog(path).close()
    assert path.read_text() == ""


def test_numbers_that_are_no_json_are_refused(tmp_path: Path) -> None:
    """NaN would make a file that other readers cannot read."""
    log = MetricsLog(tmp_path / "m.jsonl")
    with pytest.raises(ValueError, match="Out of range float"):
        log.write(1, {"a": float("nan")})
    log.close()


@pytest.mark.parametrize("bad", ["\0\0\0", "{", "[]", '{"a": 1}', '{"step": "x"}', "[" * 10**5])
def test_a_damaged_line_ends_what_is_kept(tmp_path: Path, bad: str) -> None:
    """What follows is written again; where the checkpoint knows more, that is taken."""
    path = tmp_path / "m.jsonl"
    first, second = '{"step": 1, "a": 1}\n', '{"step": 2, "a": 2}\n'
    for before, expected in [("", first), (first + second, first + second)]:
        path.write_text(f"{first}{bad}\n{second}")
        MetricsLog(path, text_before=before).close()
        assert path.read_text() == expected
