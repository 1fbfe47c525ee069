"""The lines that a training run logs: facts of the result, and facts of the machine."""

import resource
import sys

import torch

from lm.accounting.flops import training_flops_per_token
from lm.machine.peak import card_name, vendor_peak_flops
from lm.training.job.metrics_log import Metrics
from lm.training.step.run import TrainingRun


def tokens_per_step(run: TrainingRun) -> int:
    """Count the tokens that one step learns from."""
    return run.train_config.batch_size * run.model_config.context_length


def train_metrics(run: TrainingRun) -> Metrics:
    """Return the facts of the last step, which the job determines."""
    state = run.state
    return {
        "tokens_seen": state.step * tokens_per_step(run),
        "train/loss": state.loss,
        "train/learning_rate": state.learning_rate,
        "train/gradient_norm": state.gradient_norm,
    }


def spike_metrics(run: TrainingRun) -> Metrics:
    """Return the facts of a skipped step; what is not finite is None."""
    state = run.state
    return {
        "tokens_seen": state.step * tokens_per_step(run),
        "spike/loss": state.loss,
        "spike/gradient_norm": state.gradient_norm,
        "spike/num_skipped": state.num_skipped,
        "spike/is_rolled_back": state.rolled_back_at == state.step,
    }


def valid_metrics(run: TrainingRun, num_tokens: int) -> Metrics:
    """Return the result of a sampled validation, labelled as one."""
    return {
        "tokens_seen": run.state.step * tokens_per_step(run),
        "valid/loss": run.state.valid_loss,
        "valid/num_tokens": num_tokens,
        "valid/is_sampled": True,
    }


def perf_metrics(run: TrainingRun) -> Metrics:
    """Return what the steps since the last report cost on this machine."""
    watch = run.stopwatch
    tokens_per_second = watch.num_steps * tokens_per_step(run) / watch.seconds
    flops_per_second = tokens_per_second * training_flops_per_token(run.model_config)
    vendor = vendor_peak_flops(card_name(run.device), run.train_config.precision)
    of_vendor = {}
    if vendor is not None:
        of_vendor["perf/mfu_of_vendor_peak"] = flops_per_second / (
            vendor * run.processes.world_size
        )
    return {
        "perf/tokens_per_second": tokens_per_second,
        "perf/model_flops_per_second": flops_per_second,
        "perf/mfu": flops_per_second / (run.peak_flops * run.processes.world_size),
        **of_vendor,
        "perf/seconds_per_step": watch.seconds / watch.num_steps,
        "perf/data_wait_share": watch.waited_s / watch.seconds,
        "perf/host_share": watch.host_s / watch.seconds,
        "perf/peak_memory_bytes": peak_memory_bytes(run.device),
        "perf/elapsed_s": run.clock.elapsed_s(),
    }


def peak_memory_bytes(device: torch.device) -> int:
    """Return the most memory used so far: of the GPU, or resident on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # Linux counts KiB
