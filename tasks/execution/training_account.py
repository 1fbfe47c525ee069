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


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingAccount:
    """Predicted beside measured; None where nothing was predicted or kept."""

    flops: int
    """Of the steps that were made, counted from the shape."""
    seconds: float
    predicted_seconds: float | None
    """By the nearest earlier training of the store, for as many FLOPs."""
    peak_memory_bytes: int | None
    """On a CPU, of the whole process."""
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
        seconds=seconds,
        predicted_seconds=predicted * facts["tokens_seen"] / planned if predicted else None,
        peak_memory_bytes=environment.get("peak_memory_bytes"),
        predicted_memory_bytes=environment.get("predicted_memory_bytes"),
        peak_share=flops / seconds / peak if peak and seconds else None,
    )


def show(store: Store, record: Record) -> Shown:
    """Show the account in one line, and how fast the training was over all its attempts."""
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

    >>> describe(TrainingAccount(flops=10**12, seconds=8.0, predicted_seconds=9.5,
    ...     peak_memory_bytes=10**9, predicted_memory_bytes=8 * 10**8, peak_share=None))
    '1e+12 FLOPs in 8.0 s (9.5 s predicted); 1 GB of memory in all (800 MB predicted for a step)'
    """
    parts = [f"{account.flops:.3g} FLOPs in {account.seconds:.1f} s"]
    if account.predicted_seconds is not None:
        parts[0] += f" ({account.predicted_seconds:.1f} s predicted)"
    if account.peak_share is not None:
        parts[0] += f", {account.peak_share:.0%} of this machine"
    if account.peak_memory_bytes and account.predicted_memory_bytes:
        parts.append(
            f"{format_bytes(account.peak_memory_bytes)} of memory in all "
            f"({format_bytes(account.predicted_memory_bytes)} predicted for a step)"
        )
    return "; ".join(parts)
