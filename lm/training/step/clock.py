"""Time in a training run: the budget of a run by the clock, and the seconds of its steps."""

import time
from dataclasses import dataclass, field, replace

from lm.training.step.state import TrainState

RESERVE_FACTOR = 1.2
"""How many times the measured seconds of the ending are reserved: a busy machine varies."""


@dataclass
class Clock:
    """Wall-clock seconds of a run, and its budget, 0 for none.

    Set aside are the seconds before the steps run at full speed (loading, compiling, the first
    validation) and, as measured so far, those of the ending. The rest is shared out to the steps.
    """

    budget_s: float
    elapsed_before_s: float = 0.0
    """Seconds spent before this process took over."""
    setup_s: float = 0.0
    """Seconds up to the end of each process's first step, in which it compiles."""
    validation_s: float = 0.0
    """Seconds that the last validation took."""
    save_s: float = 0.0
    """Seconds that the last checkpoint took; the ending writes one, and the weights."""
    step_s: float = 0.0
    """Seconds of the last step, with those that the device had begun before it."""
    started: float = field(default_factory=time.perf_counter)

    def elapsed_s(self) -> float:
        """Return the seconds of the run so far."""
        return self.elapsed_before_s + time.perf_counter() - self.started

    def take_over(self, state: TrainState) -> None:
        """Continue the time of a run that another process began."""
        self.elapsed_before_s, self.setup_s = state.elapsed_s, state.setup_s
        self.validation_s, self.save_s = state.validation_s, state.save_s

    def kept_in(self, state: TrainState) -> TrainState:
        """Return the state with what another process needs to continue the time."""
        return replace(
            state,
            elapsed_s=self.elapsed_s(),
            setup_s=self.setup_s,
            validation_s=self.validation_s,
            save_s=self.save_s,
        )

    def end_setup(self) -> None:
        """Count this process's seconds so far as spent before the steps."""
        self.setup_s += time.perf_counter() - self.started

    @property
    def reserved_s(self) -> float:
        """Seconds that the ending is expected to take."""
        return RESERVE_FACTOR * (self.validation_s + self.save_s + self.step_s)

    def share(self) -> float:
        """Return the share of the steps' time that is used up; 0 without a budget."""
        if self.budget_s <= 0:
            return 0.0
        available_s, elapsed_s = self.budget_s - self.reserved_s, self.elapsed_s()
        if elapsed_s >= available_s:
            return 1.0
        return (elapsed_s - self.setup_s) / (available_s - self.setup_s)


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
