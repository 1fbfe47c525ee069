"""Metrics files are forwarded whatever becomes of them, and never stop the work."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.tracking.runs import TrackedRun, TrackingTarget, forward_metrics


class _Rows(TrackedRun):
    """A run that keeps the rows it gets."""

    def __init__(self) -> None:
        super().__init__(TrackingTarget(uri="", experiment=""), "")
        self.steps: list[int] = []

    def log_metric_rows(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Keep the steps."""
        self.steps += [row["step"] for row in rows]
        return True


def _lines(*steps: int) -> str:
    return "".join(f'{{"step": {step}, "a": {step}}}\n' for step in steps)


def _forward(path: Path, *contents: str) -> list[int]:
    """Write one content after the other, look after each, and return the steps that arrived."""
    from tasks.tracking.runs import _forward_new_lines

    run, offsets = _Rows(), {path: 0}
    for content in contents:
        path.write_text(content)
        _forward_new_lines(run.log_metric_rows, offsets)
    return run.steps


def test_each_line_arrives_once(tmp_path: Path) -> None:
    """A line that is not complete waits."""
    path = tmp_path / "m.jsonl"
    assert _forward(path, _lines(1), _lines(1, 2) + '{"st', _lines(1, 2, 3)) == [1, 2, 3]


def test_file_that_was_rewritten_is_followed(tmp_path: Path) -> None:
    """Shorter, and then beyond where it was; a line that the offset cuts is left out."""
    path = tmp_path / "m.jsonl"
    assert _forward(path, _lines(1, 2, 3), _lines(1), _lines(1, 2, 3, 4)) == [1, 2, 3, 4]
    assert _forward(path, _lines(1, 2, 3), "x\n" + _lines(1, 2, 3, 4, 5)) == [1, 2, 3, 4, 5]


def test_damaged_line_is_left_out(tmp_path: Path) -> None:
    """Whatever it is."""
    path = tmp_path / "m.jsonl"
    odd = "\0\n[]\n7\n{}\n" + '{"step": "x"}\n' + "[" * 10**5 + "\n"
    assert _forward(path, _lines(1) + odd + _lines(2)) == [1, 2]


def test_file_that_cannot_be_read_stops_nothing(tmp_path: Path) -> None:
    """The body ends as if nobody had looked."""
    with forward_metrics(_Rows(), [tmp_path]):
        pass
