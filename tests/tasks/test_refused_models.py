"""A run that asks for determinism does not take a model that was trained without."""

from types import SimpleNamespace
from typing import Any

import pytest

from lm.config import RunOptions
from tasks.stage import why_refused


@pytest.mark.parametrize(
    ("statistics", "is_refused"),
    [({"nondeterminism": "device"}, True), ({"nondeterminism": "clock"}, False), ({}, False)],
)
def test_only_what_a_gpu_left_open_is_refused(statistics: dict[str, str], is_refused: bool) -> None:
    """A run by the clock is never deterministic: to train it again would not help."""
    record: Any = SimpleNamespace(statistics=statistics)
    assert bool(why_refused(record, RunOptions(deterministic=True))) is is_refused
    assert why_refused(record, RunOptions()) == ""
