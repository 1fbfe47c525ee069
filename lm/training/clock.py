"""Time in a training run: the budget of a run by the clock, and the seconds of its steps."""

import time
from dataclasses import dataclass, field

RESERVE_FACTOR = 1.2
"""How many times the measured validation time is reserved for the last validation."""


@dataclass
class Clock:
    """Wall-clock seconds of a run, and its budget, 0 for none."""

    budget_s: float
    elapsed_before_s: float = 0.0
    """Seconds spent before this process took over."""
    validation_s: float = 0.0
    """Seconds that the last validation took."""
    started: float = field(default_factory=time.perf_counter)

    def elapsed_s(self) -> float:
        """Return the seconds of the run so far."""
        return self.elapsed_before_s + time.perf_counter() - self.started

    def share(self) -> float:
        """Return the share of the training time that is used up; 0 without a budget."""
        available = self.budget_s - RESERVE_FACTOR * self.validation_s
        if self.budget_s <= 0:
            return 0.0
        return 1.0 if available <= 0 else min(1.0, self.elapsed_s() / available)


@dataclass
class Stopwatch:
    """Seconds of the steps since the last report, without validation and checkpoints."""

    num_steps: int = 0
    seconds: float = 0.0
    waited_s: float = 0.0
    """Part of `seconds` in which the model waited for data."""

    def add(self, *, seconds: float, waited_s: float) -> None:
        """Count one step."""
        self.num_steps += 1
        self.seconds += seconds
        self.waited_s += waited_s

    def reset(self) -> None:
        """Start a new interval."""
        self.num_steps, self.seconds, self.waited_s = 0, 0.0, 0.0
