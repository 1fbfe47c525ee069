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
    host_s: float = 0.0
    """Seconds in which this process worked on steps; the device may have worked longer."""
    waited_s: float = 0.0
    """Part of `host_s` in which it waited for data."""
    started: float | None = None
    """Since when steps are counted that are read later; None before the first was compiled."""

    def add_host(self, *, host_s: float, waited_s: float) -> None:
        """Count what a step took of this process."""
        self.host_s += host_s
        self.waited_s += waited_s

    def add_steps(self, num_steps: int, seconds: float) -> None:
        """Count steps."""
        self.num_steps += num_steps
        self.seconds += seconds

    def lap_s(self) -> float | None:
        """Return the seconds since the lap before, and start a lap; None: they do not count."""
        now = time.perf_counter()
        seconds = None if self.started is None else now - self.started
        self.started = None if self.started is None else now
        return seconds

    def reset(self) -> None:
        """Start a new interval."""
        self.num_steps, self.seconds, self.host_s, self.waited_s = 0, 0.0, 0.0, 0.0
