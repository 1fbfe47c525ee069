"""A run that is asked to stop does so where nothing is lost."""

import pytest
from prefect.states import Cancelled, Completed

from tasks.watching.stopping import RunStopped, StopSwitch, result_of, stop_switch, stopped_by


def test_a_press_ends_work_that_may_be_ended() -> None:
    """Where a press raises, it does so at once; where it is held, the next check raises."""
    switch = StopSwitch()
    with pytest.raises(RunStopped), switch.raising():
        switch.press()
    switch = StopSwitch()
    with switch.holding():
        switch.press()
        assert switch.is_pressed
        with pytest.raises(RunStopped):
            switch.check()
        with pytest.raises(RunStopped), switch.raising():
            pytest.fail("work began after the run was asked to stop")


def test_a_run_without_a_switch_is_never_stopped() -> None:
    """The body of `stopped_by` has its switch; elsewhere nobody presses."""
    switch = StopSwitch()
    with stopped_by(switch):
        assert stop_switch() is switch
    assert not stop_switch().is_pressed


def test_a_stopped_task_says_where() -> None:
    """The state of a task that was stopped becomes the exception again, with its place."""
    with pytest.raises(RunStopped, match=r"^train_lm at step 3 of 9$"):
        result_of(Cancelled(message="stopped train_lm at step 3 of 9"))
    assert result_of(Completed(data=7)) == 7
