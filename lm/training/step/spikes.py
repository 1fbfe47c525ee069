"""Spikes: steps whose loss or gradient norm is far too large.

A spike is skipped. After several in a row training returns to the weights of an earlier
checkpoint, the anchor (PaLM, Chowdhery et al. 2022, section 5.1).
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from lm.checkpoint.durable import read_checkpoint
from lm.checkpoint.folder import checkpoint_path
from lm.machine.distributed import wait_for_all
from lm.training.step.run import TrainingRun, restore
from lm.training.step.state import WINDOW


def is_spike(value: float, recent: Sequence[float], *, sigma: float) -> bool:
    """Tell whether a value is not finite, or more than `sigma` deviations above the recent mean.

    Only upwards: a low loss is no reason to skip. A `sigma` of 0 leaves the test for finiteness.
    """
    if not math.isfinite(value):
        return True
    if sigma <= 0 or len(recent) < WINDOW:
        return False
    mean = statistics.fmean(recent)
    return value > mean + sigma * statistics.pstdev(recent, mean)


def remember(recent: tuple[float, ...], value: float) -> tuple[float, ...]:
    """Append a value and keep the last `WINDOW`."""
    return (*recent, value)[-WINDOW:]


def has_too_many_spikes(run: TrainingRun) -> bool:
    """Tell whether the last steps were all spikes, so many that skipping does not help.

    Where the device is ahead, the host asks at the end of each reading interval only, and the
    spikes must have begun before it: of such spikes the reading before has told. So the answer
    depends on the step and its state alone, and is the same in a resumed run.
    """
    state = run.state
    if state.diverged or state.skipped_in_a_row < run.train_config.max_spikes:
        return False
    if run.ahead is None:
        return True
    interval = run.ahead.interval
    return state.step % interval == 0 and state.skipped_in_a_row > interval


def roll_back(run: TrainingRun, checkpoints: Path) -> None:
    """Return to the weights of the anchor, or give up where that was tried before.

    Steps and data continue from where they are, so that the batches of the spike are not read
    again.
    """
    state = run.state
    if state.rolled_back_to == state.anchor_step:
        run.state = replace(state, diverged=True)
        return
    wait_for_all(run.processes)  # the first one has written the anchor by now
    restore(run, read_checkpoint(checkpoint_path(checkpoints, state.anchor_step)))
    run.state = replace(
        state,
        recent_losses=run.state.recent_losses,
        recent_norms=run.state.recent_norms,
        skipped_in_a_row=0,
        rolled_back_to=state.anchor_step,
        rolled_back_at=state.step,
    )
    if run.ahead is not None:
        run.ahead.load(run.state)


def has_finite_weights(run: TrainingRun) -> bool:
    """Tell whether no published weight overflowed; one that did makes a model unreadable."""
    weights = run.published_model.parameters()
    return all(bool(torch.isfinite(weight).all()) for weight in weights)


def leave_overflowed_weights(run: TrainingRun, checkpoints: Path) -> None:
    """End a run whose weights overflowed as diverged, with the weights of the anchor."""
    wait_for_all(run.processes)
    state = run.state
    restore(run, read_checkpoint(checkpoint_path(checkpoints, state.anchor_step)))
    run.state = replace(state, diverged=True)
