"""The loop of a training run: report, validate, save, then take one step.

What is due at a step follows from the state at that step. So it makes no difference whether the
step was computed or loaded from a checkpoint, and a resumed run needs no code of its own.
"""

import time
from dataclasses import replace

from lm.checkpoint.weights import save_model
from lm.machine.distributed import agree, any_process
from lm.model.transformer import plain_state_dict
from lm.training.job import TrainingStoppedError
from lm.training.outputs import Outputs
from lm.training.report import perf_metrics, spike_metrics, train_metrics, valid_metrics
from lm.training.run import TrainingRun
from lm.training.spikes import has_too_many_spikes, roll_back
from lm.training.step import take_step
from lm.training.validation import sampled_loss


def run_to_the_end(run: TrainingRun, outputs: Outputs) -> None:
    """Train until the run is over and publish its weights; save on any exception."""
    try:
        _loop(run, outputs)
        outputs.save(run)
        if run.processes.is_first:
            weights = plain_state_dict(run.published_model.state_dict())
            save_model(outputs.job.output_dir, weights, run.model_config)
    except BaseException as error:
        _save_on_the_way_out(run, outputs, error)
        raise
    finally:
        outputs.close()


def _loop(run: TrainingRun, outputs: Outputs) -> None:
    while True:
        if has_too_many_spikes(run):
            outputs.wait()  # the checkpoint to which the run returns may still be being written
            roll_back(run, outputs.job.checkpoints)
        is_over = _is_over(run)
        _report(run, outputs)
        if _validation_is_due(run, is_over):
            _validate(run, outputs)
        if _drop_anchor(run) or outputs.checkpoint_is_due(run):
            outputs.save(run)
        if is_over:
            return
        _stop_if_requested(run, outputs)
        take_step(run)


def _is_over(run: TrainingRun) -> bool:
    config, state = run.train_config, run.state
    if state.diverged or state.step >= config.max_steps:
        return True
    if not config.max_minutes:
        return False
    return agree(run.clock.share(), run.processes, run.device) >= 1.0


def _report(run: TrainingRun, outputs: Outputs) -> None:
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
    if outputs.callbacks.on_progress is not None:
        share = run.clock.share()
        total = round(state.step / share) if share else config.max_steps
        outputs.callbacks.on_progress(state.step, max(total, state.step))


def _validation_is_due(run: TrainingRun, is_over: bool) -> bool:
    config, state = run.train_config, run.state
    if state.validated_step == state.step:
        return False
    # With a clock the first one is before the first step, to know how long the last will take.
    is_at_interval = (state.step > 0 or config.max_minutes > 0) and (
        config.valid_interval > 0 and state.step % config.valid_interval == 0
    )
    return is_over or is_at_interval or (config.max_minutes > 0 and state.validated_step < 0)


def _validate(run: TrainingRun, outputs: Outputs) -> None:
    started = time.perf_counter()
    loss, num_tokens = sampled_loss(
        run.published_model,
        run.valid_shards,
        run.train_config,
        micro_batch_size=run.plan.micro_batch_size,
        fast=run.plan.fast,
        processes=run.processes,
    )
    run.clock.validation_s = time.perf_counter() - started
    best = run.state.best_valid_loss
    state = replace(run.state, validated_step=run.state.step, valid_loss=loss)
    if best is None or loss < best:
        state = replace(state, best_step=state.step, best_valid_loss=loss)
    run.state = state
    outputs.write_metrics(state.step, valid_metrics(run, num_tokens))


def _drop_anchor(run: TrainingRun) -> bool:
    """Make this step the anchor, to which spikes lead back, if it is time; tell whether it is."""
    state = run.state
    if (
        state.step % run.anchor_interval
        or state.skipped_in_a_row
        or state.anchor_step == state.step
    ):
        return False
    run.state = replace(state, anchor_step=state.step)
    return True


def _stop_if_requested(run: TrainingRun, outputs: Outputs) -> None:
    """Leave together: a process that left alone would break the next sum of the others."""
    asked = outputs.callbacks.stop_requested
    wanted = asked is not None and asked()
    if any_process(wanted, run.processes, run.device):
        raise TrainingStoppedError(f"stopped on request after step {run.state.step}")


def _save_on_the_way_out(run: TrainingRun, outputs: Outputs, error: BaseException) -> None:
    """Save what can be resumed exactly: nothing if an update was interrupted half-way."""
    if not run.is_whole:
        error.add_note("interrupted inside an update: resumes from the checkpoint before")
        return
    try:
        outputs.save(run)
    except Exception as save_error:
        error.add_note(f"no checkpoint could be saved on the way out: {save_error!r}")
