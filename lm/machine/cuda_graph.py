"""Work that is recorded as a CUDA graph once it has run a few times, and then replayed.

One launch instead of hundreds. What changes between two calls must be in tensors that stay.
"""

import logging
from collections.abc import Callable

import torch

logger = logging.getLogger(__name__)

CALLS_BEFORE_RECORDING = 3
"""As in torch's notes on CUDA graphs: libraries choose and allocate in the first calls."""

Work = Callable[[], None]
"""Reads and writes tensors on a device, and asks the host nothing."""


def record_cuda_graph(work: Work) -> Work:
    """Record work that a side stream has done before; return what does it again."""
    graph = torch.cuda.CUDAGraph()
    # Other threads, which read ahead, may allocate pinned memory meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        work()
    replay: Work = graph.replay
    return replay


class Recorded:
    """Does its work on each call, recorded as soon as possible; where it is not, as it is."""

    def __init__(
        self,
        work: Work,
        device: torch.device,
        *,
        record: Callable[[Work], Work] = record_cuda_graph,
    ) -> None:
        self._work, self._record = work, record
        self._replay: Work | None = None
        self._num_calls = 0
        self._has_failed = False
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's

    def forget(self) -> None:
        """Drop the recording: tensors that it names were replaced."""
        self._replay, self._num_calls = None, 0

    def __call__(self) -> None:
        """Do the work once."""
        self._num_calls += 1
        if self._num_calls > CALLS_BEFORE_RECORDING and self._replay is None:
            self._try_to_record()
        if self._replay is not None:
            self._replay()
        else:
            self._work_aside()

    def _try_to_record(self) -> None:
        if self._has_failed:
            return
        try:
            self._replay = self._record(self._work)
        except RuntimeError as error:
            self._has_failed = True
            reason = str(error).strip().splitlines()[0]
            logger.warning("no CUDA graph could be recorded, slower: %s", reason)

    def _work_aside(self) -> None:
        """Work on a stream of its own, as a recording asks for."""
        if self._stream is None:
            self._work()
            return
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            self._work()
        current.wait_stream(self._stream)
