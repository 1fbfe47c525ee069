"""One training step: gradients of a global batch, the test for spikes, the update.

In two forms with the same meaning: one where the host decides after each step, for a CPU, and one
where the device decides and the host reads it later (`lm/training/step/ahead.py`), for a GPU.
"""

import math
import time
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lm.machine.distributed import agree, sum_gradients, sum_tensor
from lm.optim.clip import clip_gradients, gradient_norm
from lm.optim.device_update import AVERAGE_START, move_average, update_unless
from lm.optim.parameter_groups import set_learning_rates
from lm.training.step.ahead import Ahead, clipping, decide
from lm.training.step.run import TrainingRun
from lm.training.step.spikes import is_spike, remember
from lm.training.step.state import TrainState
from lm.training.step.step_graph import StepGraph


def take_step(run: TrainingRun) -> None:
    """Read the next batch and update the weights, unless the step is a spike."""
    started = time.perf_counter()
    windows = run.loader.load(run.step)
    waited_s = time.perf_counter() - started
    if run.ahead is None:
        loss = float(compute_gradients(run, windows))
        norm = gradient_norm(run.model.parameters())
        apply_gradients(run, loss, norm)
    else:
        start_step(run, run.ahead, windows)
    if run.first_step_s == 0.0:
        _finish_first_step(run, started)
        return
    seconds = time.perf_counter() - started
    run.stopwatch.add_host(host_s=seconds, waited_s=waited_s)
    if run.ahead is None:
        run.stopwatch.add_steps(1, seconds)
        run.clock.step_s = seconds


def _finish_first_step(run: TrainingRun, started: float) -> None:
    """Note the seconds of the first step, in which the code is compiled."""
    if run.device.type == "cuda":
        torch.cuda.synchronize(run.device)
    run.first_step_s = time.perf_counter() - started
    run.clock.end_setup()
    run.stopwatch.started = None


def compute_gradients(run: TrainingRun, windows: Int[Tensor, "batch window"]) -> Float[Tensor, ""]:
    """Leave the gradient of the global batch in the parameters and return its mean loss.

    The batch goes through the model in micro-batches. Each is weighted by its share of the
    sequences, so that the sum is the gradient of the mean loss of the whole batch.
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
    return sum_tensor(total, run.processes)


def _set_rates(run: TrainingRun) -> float:
    """Set the learning rates of the next step; return AdamW's."""
    config, clock_share = run.train_config, None
    if config.max_minutes:
        clock_share = agree(run.clock.share(), run.processes, run.device)
    return set_learning_rates(run.optimizer, run.step, config, clock_share=clock_share)


def apply_gradients(run: TrainingRun, loss: float, norm: Float[Tensor, ""]) -> None:
    """Update weights and state; a spike changes the state only."""
    config, state = run.train_config, run.state
    rate = _set_rates(run)
    norm_value = float(norm)
    skip = is_spike(loss, state.recent_losses, sigma=config.spike_sigma) or is_spike(
        norm_value, state.recent_norms, sigma=config.spike_sigma
    )
    next_state = state_after(state, loss=loss, norm=norm_value, rate=rate, skip=skip)
    run.is_whole = False
    if not skip:
        clip_gradients(run.model.parameters(), config.max_l2_norm, norm=norm)
        run.optimizer.step()
        update_average(run)
    run.state = next_state
    run.is_whole = True


def start_step(run: TrainingRun, ahead: Ahead, windows: Int[Tensor, "batch window"]) -> None:
    """Start a step on the device, which decides itself; the host waits for nothing."""
    rate = _set_rates(run)
    rates = [group["lr"] for group in run.optimizer.param_groups]
    if run.plan.graphs and run.graph is None:
        step = partial(update_on_device, run, ahead)
        run.graph = StepGraph(step, len(rates), run.device)
    run.is_whole = False
    if run.graph is None:
        update_on_device(run, ahead, windows, rates)
    else:
        run.graph.take(windows.to(run.device, non_blocking=True), rates)
    ahead.rates.append(rate)
    run.is_whole = True


def update_on_device(
    run: TrainingRun,
    ahead: Ahead,
    windows: Int[Tensor, "batch window"],
    rates: list[float] | list[Tensor],
) -> None:
    """Do all of a step, by operations on the device alone."""
    config = run.train_config
    loss = compute_gradients(run, windows)
    norm = gradient_norm(run.model.parameters())
    skip = decide(ahead, loss, norm, sigma=config.spike_sigma)
    factor = clipping(norm, config.max_l2_norm)
    update_unless(run.optimizer, skip, factor=factor, rates=rates)
    if run.average is not None:
        move_average(
            list[Tensor](run.average.parameters()),
            list[Tensor](run.model.parameters()),
            skip,
            num_updates=ahead.num_updates,
            max_decay=config.ema_decay,
        )
    ahead.num_updates += ~skip


def state_after(
    state: TrainState, *, loss: float, norm: float, rate: float, skip: bool
) -> TrainState:
    """Return the state after a step with this outcome."""
    return replace(
        state,
        step=state.step + 1,
        loss=_finite(loss),
        gradient_norm=_finite(norm),
        learning_rate=rate,
        recent_losses=state.recent_losses if skip else remember(state.recent_losses, loss),
        recent_norms=state.recent_norms if skip else remember(state.recent_norms, norm),
        num_skipped=state.num_skipped + skip,
        skipped_in_a_row=state.skipped_in_a_row + 1 if skip else 0,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


@torch.no_grad()
def update_average(run: TrainingRun) -> None:
    """Move the averaged weights towards the weights, faster in the first steps.

    The decay after t updates is at most (1 + t) / (10 + t), so that the initial weights are
    forgotten soon (tf.train.ExponentialMovingAverage, `num_updates`).
    """
    if run.average is None:
        return
    updates = run.state.step - run.state.num_skipped
    decay = min(run.train_config.ema_decay, (1 + updates) / (AVERAGE_START + updates))
    for average, weight in zip(run.average.parameters(), run.model.parameters(), strict=True):
        average.lerp_(weight, 1 - decay)
