"""What a sweep found: its trials, their curves and the comparisons of their arms, as plain data."""

from dataclasses import dataclass, field
from typing import Literal

from artifacts.record import JsonObject

SWEEP_FORMAT = 1
"""Number of the form in which `sweep.json` is written."""

TrialStatus = Literal["finished", "diverged", "stuck", "failed"]
"""`diverged`: the loss stopped being finite or left its start upward; `stuck`: it ended at the
unigram entropy; `failed`: an error that says nothing about the settings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """One point of a trial's curve; a curve has at most 1,000."""

    step: int
    tokens: int
    seconds: float
    train_loss: float | None = None
    """None where no line holds it, or it was not finite."""
    valid_loss: float | None = None
    """Of a validation during training, on a sample."""
    learning_rate: float | None = None
    """AdamW's rate in that step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One training of a sweep, with how it ended."""

    label: str
    """What differs from the other trials, for a legend: `rate 1e-3, seed 2`."""
    arm: str
    """The side of a comparison that it belongs to: `baseline`, `NoPE`."""
    overrides: JsonObject
    """Settings laid over the preset, by `section.field`."""
    seed: int
    status: TrialStatus
    failure: str = ""
    """The error's one line, where it failed."""
    model: str = ""
    """Place of the model in the store: `train_lm/<fingerprint>`; empty where there is none."""
    evaluation: str = ""
    num_parameters: int = 0
    tokens: int = 0
    seconds: float = 0.0
    """Seconds of training, over all its attempts."""
    valid_loss: float | None = None
    """Nats a token over the whole validation set, at the end."""
    valid_loss_error: float | None = None
    """Its standard error over the documents."""
    bits_per_byte: float | None = None
    best_valid_loss: float | None = None
    """Lowest loss of the validations during training."""
    last_finite_loss: float | None = None
    diverged_at_step: int | None = None
    diverged_at_rate: float | None = None
    curve: tuple[CurvePoint, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two arms compared at equal seeds and data order."""

    arm: str
    against: str
    num_pairs: int
    difference: float
    """Mean of (arm - against), in nats a token: below 0, the arm is better."""
    standard_error: float
    interval: tuple[float, float]
    """Two-sided t interval of 95 %, corrected for several comparisons as `correction` says."""
    correction: str
    verdict: str
    """In words; `no conclusion` where the interval holds 0."""
    seeds_needed: int | None = None
    """Pairs that a difference of this size would need; `None` where the spread is unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseFloor:
    """Spread of the same run over seeds."""

    num_seeds: int
    mean: float
    standard_deviation: float
    smallest_difference: float
    """Smallest paired difference that this many seeds would show with a power of 80 %."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepResult:
    """Everything that one sweep found, as `sweep.json` keeps it."""

    kind: str
    """`learning-rate`, `batch-size`, `ablations`, ...: the name of the command."""
    preset: str
    corpus: str
    axis: str = ""
    """Setting that the trials differ in, `train_lm.max_learning_rate`; empty for arms."""
    held_equal: str = ""
    """What all trials share, for the caption: `100 steps`, `1,000,000 tokens`."""
    command: str = ""
    """The command that repeats the sweep."""
    settings: JsonObject = field(default_factory=dict)
    """What the trials start from, by section; {}: an earlier version did not keep it."""
    trials: tuple[Trial, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    noise_floor: NoiseFloor | None = None
    notes: tuple[str, ...] = field(default=())
    """What the caption must say: the stopping rule, how the rates of each side were tuned."""
