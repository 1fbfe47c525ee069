"""A finished training held against what was predicted: FLOPs, seconds and memory."""

from dataclasses import dataclass

from artifacts.record import Record
from artifacts.store import Store
from lm.accounting.flops import training_flops_per_token
from lm.config import ModelConfig
from tasks.stage import Shown
from tasks.watching.progress import format_bytes

PREDICTED_SECONDS = "predicted_seconds"
"""Name in a model's statistics of the seconds that were predicted for all its steps."""

RESUMED_AT = "resumed_at"
"""Name of the step at which the attempt began that ended; there where it is not the first one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingAccount:
    """Predicted beside measured; None where nothing was predicted or kept."""

    flops: int
    """Of the steps that were made, counted from the shape."""
    resumed_at: int = 0
    """Step at which the last attempt began; 0: there was one attempt."""
    seconds: float
    """Of all attempts."""
    predicted_seconds: float | None
    """By the nearest earlier training of the store, for as many FLOPs."""
    is_of_process: bool = True
    """Whether the memory is that of the whole process, as on a CPU."""
    peak_memory_bytes: int | None
    predicted_memory_bytes: int | None
    """Of one step, by `lm/accounting/memory.py`."""
    peak_share: float | None
    """FLOPs a second over the rate at which this machine multiplies large matrices."""


def account_of(record: Record) -> TrainingAccount:
    """Return the account of a `train_lm` artifact."""
    facts, settings = record.statistics, record.config["train_lm"]
    model = ModelConfig(**record.config["model"])
    planned = settings["max_steps"] * settings["batch_size"] * model.context_length
    predicted = facts.get(PREDICTED_SECONDS)
    environment = facts.get("environment", {})
    flops = int(facts["tokens_seen"]) * training_flops_per_token(model)
    peak = environment.get("peak_flops", 0) * environment.get("world_size", 1)
    seconds = float(facts["seconds"])
    return TrainingAccount(
        flops=flops,
        resumed_at=facts.get(RESUMED_AT, 0),
        seconds=seconds,
        predicted_seconds=predicted * facts["tokens_seen"] / planned if predicted else None,
        is_of_process=not str(environment.get("device", "")).startswith("cuda"),
        peak_memory_bytes=environment.get("peak_memory_bytes"),
        predicted_memory_bytes=environment.get("predicted_memory_bytes"),
        peak_share=flops / seconds / peak if peak and seconds else None,
    )


def show(store: Store, record: Record) -> Shown:
    """Show the account, and how fast the training was over all its attempts."""
    del store
    facts = record.statistics
    rate = facts["tokens_seen"] / facts["seconds"] if facts["seconds"] else 0.0
    return Shown(
        line=f"training: {describe(account_of(record))}",
        metrics={"perf/tokens_per_second": round(rate)},
    )


def describe(account: TrainingAccount) -> str:
    """Write predicted beside measured.

    What a process holds beside a step (torch, compiled code) counts in the peak of a CPU.

    >>> print(describe(TrainingAccount(flops=10**12, seconds=8.0, predicted_seconds=9.5,
    ...     peak_memory_bytes=10**9, predicted_memory_bytes=8 * 10**8, peak_share=None)))
    1e+12 FLOPs in 8.0 s (9.5 s predicted)
    memory: 1 GB at most, Python and torch included; 800 MB of it predicted for a step
    """
    line = f"{account.flops:.3g} FLOPs in {account.seconds:.1f} s"
    if account.resumed_at:
        line += f" over all attempts, the last one from step {account.resumed_at:,}"
    if account.predicted_seconds is not None:
        line += f" ({account.predicted_seconds:.1f} s predicted)"
    if account.peak_share is not None:
        line += f", {account.peak_share:.0%} of this machine"
    if account.peak_memory_bytes and account.predicted_memory_bytes:
        included = ", Python and torch included" if account.is_of_process else " of the GPU"
        line += (
            f"\nmemory: {format_bytes(account.peak_memory_bytes)} at most{included}; "
            f"{format_bytes(account.predicted_memory_bytes)} of it predicted for a step"
        )
    return line
