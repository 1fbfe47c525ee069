"""One training step: gradients of a global batch, the test for spikes, the update."""

import time
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from lm.checkpoint.durable import read_checkpoint
from lm.checkpoint.folder import checkpoint_path
from lm.machine.distributed import agree, sum_gradients, sum_tensor, wait_for_all
from lm.optim.clip import clip_gradients, gradient_norm
from lm.optim.parameter_groups import set_learning_rates
from lm.training.run import TrainingRun, restore
from lm.training.spikes import is_spike, remember


def take_step(run: TrainingRun) -> None:
    """Read the next batch and update the weights, unless the step is a spike."""
    started = time.perf_counter()
    windows = run.loader.load(run.state.step)
    waited_s = time.perf_counter() - started
    loss = compute_gradients(run, windows)
    norm = gradient_norm(run.model.parameters())
    apply_gradients(run, loss, norm)
    seconds = time.perf_counter() - started
    if run.first_step_s == 0.0:
        run.first_step_s = seconds  # compilation is in it
    else:
        run.stopwatch.add(seconds=seconds, waited_s=waited_s)


def compute_gradients(run: TrainingRun, windows: Int[Tensor, "batch window"]) -> float:
    """Leave the gradient of the global batch in the parameters and return its mean loss.

    The batch goes through the model in micro-batches; each counts by its share of the sequences,
    so that the sum is the gradient of the whole batch's mean loss.
    """
    run.optimizer.zero_grad(set_to_none=True)
    total = torch.zeros((), device=run.device)
    for part in torch.split(windows, run.plan.micro_batch_size):
        share = len(part) / run.train_config.batch_size
        tokens = part.to(run.device, non_blocking=True)  # (micro, T + 1)
        loss = run.loss(tokens[:, :-1], tokens[:, 1:])
        (loss.total * share).backward()  # type: ignore[no-untyped-call]  # torch's
        total += loss.cross_entropy * share
    sum_gradients(run.model.parameters(), run.processes)
    return float(sum_tensor(total, run.processes))


def apply_gradients(run: TrainingRun, loss: float, norm: Tensor) -> None:
    """Update weights and state; a spike changes the state only."""
    config, state = run.train_config, run.state
    clock_share = None
    if config.max_minutes:
        clock_share = agree(run.clock.share(), run.processes, run.device)
    rate = set_learning_rates(run.optimizer, state.step, config, clock_share=clock_share)
    norm_value = float(norm)
    skip = is_spike(loss, state.recent_losses, sigma=config.spike_sigma) or is_spike(
        norm_value, state.recent_norms, sigma=config.spike_sigma
    )
    next_state = replace(
        state,
        step=state.step + 1,
        loss=_finite(loss),
        gradient_norm=_finite(norm_value),
        learning_rate=rate,
        recent_losses=state.recent_losses if skip else remember(state.recent_losses, loss),
        recent_norms=state.recent_norms if skip else remember(state.recent_norms, norm_value),
        num_skipped=state.num_skipped + skip,
        skipped_in_a_row=state.skipped_in_a_row + 1 if skip else 0,
    )
    run.is_whole = False
    if not skip:
        clip_gradients(run.model.parameters(), config.max_l2_norm, norm=norm)
        run.optimizer.step()
        update_average(run)
    run.state = next_state
    run.is_whole = True


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None  # NaN compares false


@torch.no_grad()
def update_average(run: TrainingRun) -> None:
    """Move the averaged weights towards the weights, faster in the first steps.

    The decay after t updates is at most (1 + t) / (10 + t), so that the initial weights are
    forgotten soon (tf.train.ExponentialMovingAverage, `num_updates`).
    """
    if run.average is None:
        return
    updates = run.state.step - run.state.num_skipped
    decay = min(run.train_config.ema_decay, (1 + updates) / (10 + updates))
    for average, weight in zip(run.average.parameters(), run.model.parameters(), strict=True):
        average.lerp_(weight, 1 - decay)


def roll_back(run: TrainingRun, folder: Path) -> None:
    """Return to the weights of the anchor, or give up where that was tried before.

    Steps and data go on from where they are, so that the batches of the spike are not met again
    (PaLM, Chowdhery et al. 2022, section 5.1).
    """
    state = run.state
    if state.rolled_back_to == state.anchor_step:
        run.state = replace(state, diverged=True)
        return
    wait_for_all(run.processes)  # the first one has written the anchor by now
    restore(run, read_checkpoint(checkpoint_path(folder, state.anchor_step)))
    run.state = replace(
        state,
        recent_losses=run.state.recent_losses,
        recent_norms=run.state.recent_norms,
        skipped_in_a_row=0,
        rolled_back_to=state.anchor_step,
        rolled_back_at=state.step,
    )
