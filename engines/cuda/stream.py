"""Streams: work that the GPU does in order. Events: moments in it."""

from __future__ import annotations

from typing import Any

from engines.cuda.binding import cuda_errors
from engines.cuda.context import CudaContext, Owned

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: it never waits for the default stream, which other libraries may use


class Stream(Owned):
    """Work in order, beside that of other streams. `raw` is pycuda's stream, `handle` CUDA's number for it."""

    kind = "stream"

    @property
    def handle(self) -> int:
        """What TensorRT and cuda-bindings take."""
        return int(self.raw.handle)

    def synchronise(self) -> None:
        """Wait until everything that was put on it is done; other threads go on meanwhile. Raises CudaError."""
        with cuda_errors("waiting for the GPU"):
            self.raw.synchronize()

    def _make(self) -> None:
        self.raw: Any = self._context.driver.Stream(_NON_BLOCKING)

    def _give_back(self) -> None:
        self.raw = None  # pycuda destroys it with the last reference


class Event(Owned):
    """A moment in a stream's work."""

    kind = "event"

    def __init__(self, context: CudaContext) -> None:
        super().__init__(context)

    def record(self, stream: Stream) -> None:
        """Mark the moment when the stream has done everything that was put on it so far."""
        self._event.record(stream.raw)

    def milliseconds_since(self, earlier: Event) -> float:
        """Time from `earlier` to this one by the GPU's own clock, once it has come. Raises CudaError."""
        with cuda_errors("timing the GPU"):
            self._event.synchronize()
            return float(self._event.time_since(earlier._event))

    def _make(self) -> None:
        self._event: Any = self._context.driver.Event()

    def _give_back(self) -> None:
        self._event = None
