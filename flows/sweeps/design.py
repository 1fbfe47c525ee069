"""A sweep as data: its arms, its seeds, and the rates at which each side is tuned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flows.config import PipelineConfig
from lm.config import TrainConfig

Overrides = Mapping[str, object]
"""Settings by `section.field`, laid over the configuration that a sweep starts from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One side of a sweep: what it changes."""

    name: str
    overrides: Overrides = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """What the user asked for beyond the kind of sweep."""

    num_seeds: int = 0
    """0: what the kind of sweep takes."""
    grid: Mapping[str, Sequence[object]] = field(default_factory=dict)
    """Values by `section.field`."""
    arms: Sequence[str] = ()
    """Names of the variants; (): all."""
    num_rates: int = 3
    """Rates at which each side is tuned; 1: all at the preset's."""
    hold: str = "tokens"
    """What a batch-size sweep holds equal: tokens or steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Design:
    """Everything that determines which trials a sweep has."""

    kind: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    """Seeds of every arm, fixed before the first training. Equal seeds have equal data order."""
    against: str = ""
    """The arm that the others are compared with; "": none is compared."""
    rate_factors: tuple[float, ...] = ()
    """Factors of the peak rates at which each arm is tuned before it is compared; (): none."""
    tuning_seed: int = 0
    """Seed of the tuning, apart from `seeds`, so that no side is compared at its lucky seed."""
    axis: str = ""
    """The setting that the arms differ in, where it is one."""
    held_equal: str = ""
    """What all trials share."""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse designs that cannot be told apart or compared."""
        names = [arm.name for arm in self.arms]
        for what, values in (("arms", names), ("seeds", self.seeds)):
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{what} {list(values)} must be at least one, all different")
        if self.against and self.against not in names:
            raise ValueError(f"against ({self.against!r}) must be one of the arms {names}")

    @property
    def num_comparisons(self) -> int:
        """Comparisons that the sweep makes."""
        return len(self.arms) - 1 if self.against else 0


def seeds_from(base: PipelineConfig, num_seeds: int, *, skip: int = 0) -> tuple[int, ...]:
    """Return so many seeds from the configuration's own on, the first ones left out."""
    first = base.train_lm.seed + skip
    return tuple(range(first, first + num_seeds))


def held_equal(base: PipelineConfig) -> str:
    """Say what all trials share that change neither steps nor batches."""
    config = base.train_lm
    return f"{config.max_steps:,} steps of {config.batch_size} x {base.model.context_length} tokens"


def scaled_rates(section: str, config: TrainConfig, factor: float) -> dict[str, object]:
    """Return the rates times a factor: AdamW's peak and end, and with Muon both peaks.

    >>> scaled_rates("train", TrainConfig(), 0.1)
    {'train.max_learning_rate': 0.0003, 'train.min_learning_rate': 3e-05}
    """
    names = ["max_learning_rate", "min_learning_rate"]
    if config.optimizer == "muon":
        names.append("muon_learning_rate")
    return {f"{section}.{name}": _rounded(getattr(config, name) * factor) for name in names}


def _rounded(rate: float) -> float:
    """Drop the noise of the multiplication, so that two ways to one rate are one trial."""
    return float(f"{rate:.6g}")
