"""The state of a training run as plain values, which a checkpoint stores as JSON."""

from dataclasses import asdict, dataclass

from lm.checkpoint.durable import JsonObject

WINDOW = 128
"""Number of earlier steps that a new step is compared with; before that many, none is a spike."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainState:
    """Values after `step` steps. A checkpoint stores weights and optimizer state beside them."""

    step: int = 0
    """Batches read, skipped ones included; also the index of the next batch."""
    loss: float | None = None
    """Mean loss of the last batch in nats a token, before its update; None: not finite."""
    gradient_norm: float | None = None
    """Global norm of the last gradient before clipping; None: not finite."""
    learning_rate: float = 0.0
    """AdamW's rate in the last step."""
    recent_losses: tuple[float, ...] = ()
    """Losses of the last steps that were not skipped, oldest first (`spikes.py`)."""
    recent_norms: tuple[float, ...] = ()
    """Gradient norms of the same steps."""
    num_skipped: int = 0
    """Steps skipped as spikes in the whole run."""
    skipped_in_a_row: int = 0
    """Steps skipped since the last update."""
    anchor_step: int = -1
    """Step of the checkpoint to which spikes lead back; -1 before the first."""
    rolled_back_to: int = -1
    """Anchor of the last roll-back; -1: there was none."""
    rolled_back_at: int = -1
    """Step of that roll-back."""
    diverged: bool = False
    """Whether training was given up."""
    validated_step: int = -1
    """Step of the last sampled validation; -1: there was none."""
    valid_loss: float | None = None
    """Loss of that validation, in nats a token; None: not finite."""
    best_step: int = -1
    """Step of the lowest validation loss; -1: there was none."""
    best_valid_loss: float | None = None
    """The lowest validation loss."""
    elapsed_s: float = 0.0
    """Seconds spent, over all resumptions; of the machine, not of the result."""
    setup_s: float = 0.0
    """Part of them before the steps, in which each process loaded and compiled."""
    validation_s: float = 0.0
    """Seconds of the last sampled validation."""
    save_s: float = 0.0
    """Seconds of the last checkpoint that was written before this one."""


def state_to_json(state: TrainState) -> JsonObject:
    """Return the state as plain JSON values."""
    return asdict(state)


def state_from_json(values: JsonObject) -> TrainState:
    """Rebuild a state from what `state_to_json` gave, also when it was written as JSON."""
    recent = {name: tuple(values[name]) for name in ("recent_losses", "recent_norms")}
    return TrainState(**{**values, **recent})
