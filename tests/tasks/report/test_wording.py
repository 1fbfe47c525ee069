"""Tests of `tasks/report/wording.py`."""

import doctest

import pytest

from tasks.report import page, wording


@pytest.mark.parametrize("module", [wording, page], ids=lambda module: module.__name__)
def test_the_examples_hold(module: object) -> None:
    """Each form of a number is what its docstring shows."""
    result = doctest.testmod(module)  # type: ignore[arg-type]  # a module
    assert result.attempted
    assert not result.failed


def test_a_loss_that_is_not_finite_is_said_in_words() -> None:
    """Neither nan nor a missing number reaches the page as a number."""
    assert wording.loss(float("nan")) == "not finite"
    assert wording.loss(None) == wording.NOTHING
