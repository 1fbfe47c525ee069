"""The loop of a training run: report, validate, save, then take one step.

What is due at a step follows from the state at that step. So it makes no difference whether the
step was computed or loaded from a checkpoint, and a resumed run needs no code of its own.
"""

import gc
import math
import time
from dataclasses import replace

from lm.checkpoint.weights import save_model
from lm.loss import UNCOMPILED_CHUNK
from lm.machine.collector import paused_collector
from lm.machine.distributed import agree, any_process
from lm.model.transformer import plain_state_dict
from lm.training.job.job import TrainingStoppedError
from lm.training.outputs import Outputs
from lm.training.progress_sample import progress_sample
from lm.training.report import perf_metrics, spike_metrics, train_metrics, valid_metrics
from lm.training.step.ahead import Ahead
from lm.training.step.run import TrainingRun
from lm.training.step.spikes import (
    has_finite_weights,
    has_too_many_spikes,
    leave_overflowed_weights,
    roll_back,
)
from lm.training.step.step import state_after, take_step
from lm.training.validation import sampled_loss


def run_to_the_end(run: TrainingRun, outputs: Outputs) -> None:
    """Train until the run is over and publish its weights; save on any exception."""
    try:
        with paused_collector(is_paused=run.device.type == "cuda"):
            _loop(run, outputs)
        if not has_finite_weights(run):
            outputs.wait()  # the anchor may still be being written
            leave_overflowed_weights(run, outputs.job.checkpoints)
        outputs.save(run)
        if run.processes.is_first:
            weights = plain_state_dict(run.published_model.state_dict())
            save_model(outputs.job.output_dir, weights, run.model_config)
    except BaseException as error:
        _save_on_the_way_out(run, outputs, error)
        raise


def _loop(run: TrainingRun, outputs: Outputs) -> None:
    while True:
        if run.ahead is not None:
            _read_at_interval(run, run.ahead, outputs)
        run.clock.save_s = outputs.save_s
        is_over = _is_over(run)
        if run.ahead is None or _is_due(run, run.ahead, outputs, is_over=is_over):
            _catch_up(run, outputs)
            if _do_what_is_due(run, outputs, is_over=is_over):
                return
            if run.ahead is not None:
                run.stopwatch.started = time.perf_counter()
        _stop_if_requested(run, outputs)
        take_step(run)


def _do_what_is_due(run: TrainingRun, outputs: Outputs, *, is_over: bool) -> bool:
    """Report, validate, save as the state asks for; tell whether the run is over."""
    if has_too_many_spikes(run):
        outputs.wait()  # the checkpoint to which the run returns may still be being written
        roll_back(run, outputs.job.checkpoints)
    is_over = is_over or run.state.diverged
    _report(run, outputs)
    if _validation_is_due(run, is_over):
        _validate(run, outputs)
        _keep_sample(run, outputs, is_over=is_over)
    if _drop_anchor(run) or outputs.checkpoint_is_due(run):
        outputs.save(run)
    return is_over


def _is_over(run: TrainingRun) -> bool:
    config = run.train_config
    if run.state.diverged or run.step >= config.max_steps:
        return True
    if not config.max_minutes:
        return False
    return agree(run.clock.share(), run.processes, run.device) >= 1.0


def _is_due(run: TrainingRun, ahead: Ahead, outputs: Outputs, *, is_over: bool) -> bool:
    """Tell whether anything is to be done now that needs the state of the last step."""
    is_troubled = run.state.skipped_in_a_row > 0 and run.step % ahead.interval == 0
    return (
        is_over
        or is_troubled
        or run.stopwatch.started is None
        or _validation_is_due(run, is_over)
        or _anchor_is_due(run)
        or outputs.checkpoint_is_due(run)
    )


def _read_at_interval(run: TrainingRun, ahead: Ahead, outputs: Outputs) -> None:
    """At the end of an interval, take over the one before, which is done or nearly so."""
    if ahead.rates and run.step % ahead.interval == 0:
        ahead.read()
        ahead.hand_over()
        _take_over(run, ahead)
        while ahead.unread:
            _advance(run, ahead)
            _report(run, outputs)


def _catch_up(run: TrainingRun, outputs: Outputs) -> None:
    """Wait for the device and take over all steps; the last one is not reported yet."""
    ahead = run.ahead
    if ahead is None:
        return
    ahead.read()
    ahead.hand_over()
    ahead.read()
    _take_over(run, ahead)
    while ahead.unread:
        _advance(run, ahead)
        if ahead.unread:
            _report(run, outputs)


def _take_over(run: TrainingRun, ahead: Ahead) -> None:
    seconds, num_steps = run.stopwatch.lap_s(), len(ahead.unread)
    if seconds is not None:
        run.stopwatch.add_steps(num_steps, seconds)
        # The device may be two intervals behind when the budget ends.
        run.clock.step_s = 2 * ahead.interval * seconds / max(1, num_steps)


def _advance(run: TrainingRun, ahead: Ahead) -> None:
    """Bring the state of the run one step on, as if the host had decided."""
    loss, norm, is_skipped, rate = ahead.unread[0]
    state = state_after(run.state, loss=loss, norm=norm, rate=rate, skip=is_skipped)
    ahead.unread.popleft()
    run.state = state


def _report(run: TrainingRun, outputs: Outputs) -> None:
    _write_lines(run, outputs)
    if run.processes.is_first and outputs.callbacks.on_progress is not None:
        share, step = run.clock.share(), run.state.step
        total = round(step / share) if share else run.train_config.max_steps
        outputs.callbacks.on_progress(step, max(total, step))


def _write_lines(run: TrainingRun, outputs: Outputs) -> None:
    state, config = run.state, run.train_config
    if not run.processes.is_first:
        return
    is_at_interval = state.step % config.log_interval == 0
    if state.skipped_in_a_row or state.rolled_back_at == state.step:
        outputs.write_metrics(state.step, spike_metrics(run))
    elif state.step and is_at_interval:
        outputs.write_metrics(state.step, train_metrics(run))
    if run.stopwatch.num_steps and is_at_interval:
        outputs.write_timings(state.step, perf_metrics(run))
        run.stopwatch.reset()


def _validation_is_due(run: TrainingRun, is_over: bool) -> bool:
    config, step, validated_step = run.train_config, run.step, run.state.validated_step
    if validated_step == step:
        return False
    # With a clock the first one is before the first step, to know how long the last will take.
    is_at_interval = (step > 0 or config.max_minutes > 0) and (
        config.valid_interval > 0 and step % config.valid_interval == 0
    )
    return is_over or is_at_interval or (config.max_minutes > 0 and validated_step < 0)


def _validate(run: TrainingRun, outputs: Outputs) -> None:
    started = time.perf_counter()
    loss, num_tokens = sampled_loss(
        run.published_model,
        run.valid_shards,
        run.train_config,
        micro_batch_size=run.plan.micro_batch_size,
        fast=run.plan.fast,
        processes=run.processes,
        chunk_size=min(run.plan.loss_chunk, UNCOMPILED_CHUNK),
    )
    if run.device.type == "cuda":
        gc.collect()  # there it does not run by itself; it takes half a second
    run.clock.validation_s = time.perf_counter() - started
    best = run.state.best_valid_loss
    # The weights of a diverged training may give no finite loss; JSON has only finite numbers.
    is_finite = math.isfinite(loss)
    state = replace(
        run.state, validated_step=run.state.step, valid_loss=loss if is_finite else None
    )
    if is_finite and (best is None or loss < best):
        state = replace(state, best_step=state.step, best_valid_loss=loss)
    run.state = state
    outputs.write_metrics(state.step, valid_metrics(run, num_tokens))


def _keep_sample(run: TrainingRun, outputs: Outputs, *, is_over: bool) -> None:
    """Keep what the weights write now.

    A run by the clock does so between its first and its last validation only: both ends of it are
    measured, and kept as short as they can be.
    """
    is_between = run.step > 0 and not is_over
    if run.processes.is_first and (is_between or not run.train_config.max_minutes):
        outputs.write_sample(run.state.step, progress_sample(run))


def _anchor_is_due(run: TrainingRun) -> bool:
    return run.step % run.anchor_interval == 0 and run.state.anchor_step != run.step


def _drop_anchor(run: TrainingRun) -> bool:
    """Make this step the anchor, to which spikes lead back, if it is time; tell whether it is."""
    state = run.state
    # The host looks for spikes at fixed steps, on which anchors fall too: the weights of a
    # roll-back are no new anchor, or a run that diverges would never be given up.
    is_rolled_back = run.ahead is not None and state.rolled_back_at == state.step
    if state.skipped_in_a_row or is_rolled_back or not _anchor_is_due(run):
        return False
    run.state = replace(run.state, anchor_step=run.state.step)
    return True


def _stop_if_requested(run: TrainingRun, outputs: Outputs) -> None:
    """Leave together: a process that left alone would break the next sum of the others."""
    ahead, is_alone = run.ahead, run.processes.world_size == 1
    if ahead is not None and not is_alone and run.step % ahead.interval:
        return  # to ask the others would be to wait for the device
    asked = outputs.callbacks.stop_requested
    wanted = asked is not None and asked()
    if any_process(wanted, run.processes, run.device):
        raise TrainingStoppedError(run.step, run.train_config.max_steps)


def _save_on_the_way_out(run: TrainingRun, outputs: Outputs, error: BaseException) -> None:
    """Save what can be resumed exactly: nothing if an update was interrupted half-way."""
    if not run.is_whole:
        error.add_note("interrupted inside an update: resumes from the checkpoint before")
        return
    try:
        _catch_up_in_silence(run, outputs)
        outputs.save(run)
    except Exception as save_error:
        error.add_note(f"no checkpoint could be saved on the way out: {save_error!r}")


def _catch_up_in_silence(run: TrainingRun, outputs: Outputs) -> None:
    """Take over all steps and write their lines; the caller, who may have stopped it, rests."""
    ahead = run.ahead
    if ahead is None:
        return
    ahead.read()
    ahead.hand_over()
    ahead.read()
    while ahead.unread:
        _advance(run, ahead)
        _write_lines(run, outputs)
