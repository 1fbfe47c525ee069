"""Steps ahead of the host: the device decides what a step does, the host reads it later.

On a GPU a step that the host must read stands still until the reading is done. So the test for
spikes is made on the device, in float64 as on the host, and each step leaves a row: loss, gradient
norm, whether it was skipped. The host takes the rows of an interval over while the next one is
running, and computes the state of the run from them as if it had taken the steps itself.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lm.optim.clip import clip_factor
from lm.training.step.state import WINDOW, TrainState


class Reading(NamedTuple):
    """What one step did, as the host reads it."""

    loss: float
    norm: float
    is_skipped: bool
    rate: float
    """AdamW's learning rate, which the host knew before the step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rows:
    """Rows on their way to the host."""

    values: Float[Tensor, "steps 3"]
    rates: list[float]
    arrival: torch.cuda.Event | None
    """Comes when the copy is done; None where there was none to make."""

    def read(self) -> list[Reading]:
        """Wait for the copy and return the rows."""
        if self.arrival is not None:
            self.arrival.synchronize()
        return [
            Reading(loss, norm, is_skipped > 0, rate)
            for (loss, norm, is_skipped), rate in zip(
                self.values.tolist(), self.rates, strict=False
            )
        ]


@dataclass(kw_only=True)
class Ahead:
    """What the device keeps about earlier steps, and what the host has not yet taken over."""

    interval: int
    """Steps between two readings."""
    recent: Float[Tensor, "2 window"]
    """Losses and norms of the last steps that were not skipped, in float64, in any order."""
    num_recent: Int[Tensor, " 1"]
    """Steps so far that were not skipped, `WINDOW` or more where `recent` is full."""
    num_updates: Int[Tensor, ""]
    """Updates of the weights since the start of the run."""
    rows: Float[Tensor, "interval 3"]
    position: Int[Tensor, " 1"]
    """Row of the next step."""
    rates: list[float] = field(default_factory=list)
    """Learning rates of the steps in `rows`."""
    waiting: _Rows | None = None
    unread: deque[Reading] = field(default_factory=deque)
    """Read, but not yet in the state of the run."""

    @property
    def num_steps(self) -> int:
        """Steps that were started and are not yet in the state of the run."""
        waiting = 0 if self.waiting is None else len(self.waiting.rates)
        return len(self.unread) + waiting + len(self.rates)

    def load(self, state: TrainState) -> None:
        """Continue from a state of the run: after a restart or a roll-back."""
        self.rates, self.waiting = [], None
        self.unread.clear()
        self.position.zero_()
        recent = torch.tensor([state.recent_losses, state.recent_norms], dtype=torch.float64)
        self.recent[:, : recent.shape[1]] = recent.to(self.recent.device)
        self.num_recent.fill_(recent.shape[1])
        self.num_updates.fill_(state.step - state.num_skipped)

    def hand_over(self) -> None:
        """Start to copy the rows to the host; those before must have been read."""
        rows, arrival = self.rows[: len(self.rates)], None
        if rows.is_cuda:
            values = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
            values.copy_(rows, non_blocking=True)
            arrival = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch's
            arrival.record()
        else:
            values = rows.clone()
        self.waiting = _Rows(values=values, rates=self.rates, arrival=arrival)
        self.rates = []
        self.position.zero_()

    def read(self) -> None:
        """Take over what was handed over; waits only where the device has not come so far."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            self.unread.extend(waiting.read())


def new_ahead(device: torch.device, *, log_interval: int) -> Ahead:
    """Return the memory of a device at step 0.

    Two readings an interval: a roll-back, which needs two, comes at most an interval later.
    """
    interval = max(1, log_interval // 2)
    return Ahead(
        interval=interval,
        recent=torch.zeros(2, WINDOW, dtype=torch.float64, device=device),
        num_recent=torch.zeros(1, dtype=torch.int64, device=device),
        num_updates=torch.zeros((), dtype=torch.int64, device=device),
        rows=torch.zeros(interval, 3, dtype=torch.float64, device=device),
        position=torch.zeros(1, dtype=torch.int64, device=device),
    )


def decide(
    ahead: Ahead, loss: Float[Tensor, ""], norm: Float[Tensor, ""], *, sigma: float
) -> Bool[Tensor, ""]:
    """Return whether the step is a spike, as `is_spike` says, and remember it if it is none."""
    values = torch.stack((loss.double(), norm.double()))  # (2,)
    skip = ~torch.isfinite(values).all()
    if sigma > 0:
        limits = ahead.recent.mean(1) + sigma * ahead.recent.std(1, correction=0)
        is_full = (ahead.num_recent >= WINDOW).squeeze()
        skip = skip | (is_full & (values > limits).any())
    slot = ahead.num_recent % WINDOW  # (1,)
    kept = torch.where(skip, ahead.recent.index_select(1, slot), values.unsqueeze(1))
    ahead.recent.index_copy_(1, slot, kept)
    ahead.num_recent += ~skip
    ahead.rows.index_copy_(0, ahead.position, torch.cat((values, skip.double().view(1)))[None])
    ahead.position += 1
    return skip


def clipping(norm: Float[Tensor, ""], max_l2_norm: float) -> Float[Tensor, ""]:
    """Return the factor of the gradients; 1 without clipping."""
    return clip_factor(norm, max_l2_norm) if max_l2_norm > 0 else torch.ones_like(norm)
