"""A whole training step as one CUDA graph: one launch instead of hundreds, for small batches.

The first steps run as they are, so that everything is compiled and allocated; then a step is
recorded, and from then on replayed. What changes between steps is in tensors: the windows, the
learning rates, and all that the device remembers (`lm/training/ahead.py`).
"""

import logging
from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Tensor

logger = logging.getLogger(__name__)

STEPS_BEFORE_RECORDING = 3
"""As in torch's notes on CUDA graphs: libraries choose and allocate in the first calls."""

Work = Callable[[], None]

Step = Callable[[Tensor, list[Tensor]], None]
"""Gets windows and learning rates, and asks the host nothing."""


def record_cuda_graph(work: Work) -> Work:
    """Record work that a side stream has done before; return what does it again."""
    graph = torch.cuda.CUDAGraph()
    # Other threads, which read ahead, may allocate pinned memory meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        work()
    replay: Work = graph.replay
    return replay


class StepGraph:
    """Takes steps, recorded as soon as that is possible; where it is not, one by one."""

    def __init__(
        self,
        step: Step,
        num_rates: int,
        device: torch.device,
        *,
        record: Callable[[Work], Work] = record_cuda_graph,
    ) -> None:
        self._step, self._record = step, record
        self._rates = [torch.zeros((), device=device) for _ in range(num_rates)]
        self._windows = torch.empty(0, dtype=torch.int64, device=device)
        self._replay: Work | None = None
        self._num_steps = 0
        self._has_failed = False
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's

    def forget(self) -> None:
        """Drop the recording: tensors that it names were replaced."""
        self._replay, self._num_steps = None, 0

    def take(self, windows: Int[Tensor, "batch window"], rates: list[float]) -> None:
        """Take one step with these windows and learning rates."""
        if self._windows.shape != windows.shape:
            self._windows = torch.empty_like(windows)
        self._windows.copy_(windows)
        for value, rate in zip(self._rates, rates, strict=True):
            value.fill_(rate)
        self._num_steps += 1
        if self._num_steps > STEPS_BEFORE_RECORDING and self._replay is None:
            self._try_to_record()
        if self._replay is not None:
            self._replay()
        else:
            self._take_aside()

    def _work(self) -> None:
        self._step(self._windows, self._rates)

    def _try_to_record(self) -> None:
        if self._has_failed:
            return
        try:
            self._replay = self._record(self._work)
        except RuntimeError as error:
            self._has_failed = True
            reason = str(error).strip().splitlines()[0]
            logger.warning("no CUDA graph of the step, slower with small batches: %s", reason)

    def _take_aside(self) -> None:
        """Take a step on a stream of its own, as a recording asks for."""
        if self._stream is None:
            self._work()
            return
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            self._work()
        current.wait_stream(self._stream)
