"""What a caller gives to `train`, and what it gets back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lm.config import ModelConfig, RunOptions, TrainConfig
from lm.training.job.metrics_log import Metrics


class TrainingStoppedError(Exception):
    """The caller asked to stop. The run is saved and can be resumed, or a note says why not."""

    def __init__(self, step: int, max_steps: int) -> None:
        super().__init__(f"stopped on request after step {step} of {max_steps}")
        self.step = step
        self.max_steps = max_steps


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainJob:
    """One training run: what is trained, on which tokens, into which folder."""

    model_config: ModelConfig
    """Shape of the model."""
    train_config: TrainConfig
    """What is done; with the shape and the shards it determines the result."""
    options: RunOptions
    """How it is done here. A resumed run keeps the choices that change rounding."""
    train_shards: Sequence[Path]
    """Token files, in the order of the stream."""
    valid_shards: Sequence[Path]
    """Token files for the sampled validation."""
    output_dir: Path
    """Folder of this run."""

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.output_dir / "checkpoints"


@dataclass(frozen=True, kw_only=True, slots=True)
class Callbacks:
    """Functions that `train` calls; None for those that the caller does not need."""

    on_metrics: Callable[[int, Metrics], None] | None = None
    """Gets (step, metrics) of every line written; a value that is not finite is None."""
    on_checkpoint: Callable[[int, Path], None] | None = None
    """Gets (step, folder) of each checkpoint, in the thread that writes them."""
    on_progress: Callable[[int, int], None] | None = None
    """Gets (steps done, steps in all); with a clock the latter is an estimate."""
    on_first_batch: Callable[[list[list[int]]], None] | None = None
    """Gets the token ids of the first batch, before the first step."""
    on_start: Callable[[int, bool], None] | None = None
    """Gets (steps done so far, whether the next one compiles), before the first step."""
    stop_requested: Callable[[], bool] | None = None
    """Is asked before every step. If one process answers yes, all processes save and leave."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """How a run ended."""

    step: int
    tokens_seen: int
    train_loss: float | None
    """Loss of the last step in nats a token; None if it was not finite."""
    valid_loss: float | None
    """Loss of the last sampled validation; None if it was not finite."""
    diverged: bool
    """Whether training was given up after spikes; the weights are the last good ones."""
    deterministic: bool
    """Whether the same job on the same machine gives the same bytes."""
    num_skipped: int
    """Steps skipped as spikes."""
    seconds: float
    """Seconds of the run over all resumptions, from opening the shards to the last file."""
    seconds_before: float = 0.0
    """Of these, the seconds before this process took over."""
    nondeterminism: str = ""
    """Why it may not: `clock` (`max_minutes`) or `device` (a GPU without `deterministic`)."""
    environment: Mapping[str, object] = field(default_factory=dict)
    """Plain JSON values: what the run chose on this machine, its version of torch, the FLOP/s of
    a large product, seconds of the first step (compilation is in it), peak memory measured and
    predicted. On a CPU the measured peak is that of the whole process."""
