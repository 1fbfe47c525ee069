"""Progress without a terminal is a plain line now and then."""

import logging

import pytest

from tasks.watching import progress as module
from tasks.watching.progress import format_bytes, progress


def test_lines_come_at_their_interval(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log is not filled by fast progress, and shows life by slow progress."""
    with caplog.at_level(logging.INFO), progress("count") as on_progress:
        on_progress(1_000_000, 4_000_000)
        assert caplog.messages == []
        monkeypatch.setattr(module, "LINE_INTERVAL_S", 0.0)
        on_progress(2_000_000, 4_000_000)
    assert caplog.messages == ["count: 2 MB (50 %)"]


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (4e12, "4 TB")]
)
def test_sizes_have_decimal_units(size_bytes: float, text: str) -> None:
    """Powers of a thousand, as disks and networks are sold."""
    assert format_bytes(size_bytes) == text
