"""CUDA graphs: the work of one inference, recorded once and then handed to the GPU in one call.

pycuda has no graphs. Both it and cuda-bindings speak CUDA's driver API, so cuda-bindings records what is put on a
stream of pycuda's. Where it is not installed, the same work is put on the stream piece by piece.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import Any, Protocol

from engines.cuda.binding import check, load_graphs
from engines.cuda.context import CudaContext, Owned
from engines.cuda.stream import Stream
from engines.errors import EngineError

_log = logging.getLogger(__name__)
# A request has one geometry as a rule, and a few places where frames lie.
MOST_GRAPHS = 8

Work = Callable[[], None]


class Recorded(Protocol):
    """Work that was recorded."""

    def launch(self) -> None:
        """Have it done once more."""

    def close(self) -> None:
        """Forget it."""


class Graph(Owned):
    """What `work` puts on `stream`, recorded and not done. The context must be current in the calling thread."""

    kind = "CUDA graph"

    def __init__(self, context: CudaContext, stream: Stream, work: Work) -> None:
        self._bindings: Any = load_graphs()  # whoever makes one has asked before whether it is there
        self._stream = self._bindings.CUstream(stream.handle)
        self._work = work
        super().__init__(context)

    def launch(self) -> None:
        """Put the recorded work on its stream. Raises CudaError."""
        check(self._bindings.cuGraphLaunch(self._executable, self._stream), "launching a CUDA graph")

    def _make(self) -> None:
        bindings = self._bindings
        # Thread-local: what other threads do meanwhile, such as allocating, neither fails nor is recorded.
        mode = bindings.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        check(bindings.cuStreamBeginCapture(self._stream, mode), "recording a CUDA graph")
        try:
            self._work()
        except BaseException:
            status, unfinished = bindings.cuStreamEndCapture(self._stream)
            if not int(status) and int(unfinished):
                bindings.cuGraphDestroy(unfinished)
            raise
        graph = check(bindings.cuStreamEndCapture(self._stream), "recording a CUDA graph")
        try:
            self._executable = check(bindings.cuGraphInstantiate(graph, 0), "preparing a CUDA graph")
        finally:
            bindings.cuGraphDestroy(graph)

    def _give_back(self) -> None:
        check(self._bindings.cuGraphExecDestroy(self._executable), "giving back a CUDA graph")


class Replay:
    """Does the same work again and again, as a graph where it can be recorded.

    `record` records work without doing it; None where nothing can.
    """

    def __init__(self, record: Callable[[Work], Recorded] | None, most: int = MOST_GRAPHS) -> None:
        self._record = record
        self._most = most
        self._graphs: dict[Hashable, Recorded] = {}

    @property
    def records(self) -> bool:
        """Whether work is recorded."""
        return self._record is not None

    def run(self, key: Hashable, work: Work) -> None:
        """Do `work`. The same `key` must stand for the same work with the same addresses and shapes."""
        known = self._graphs.get(key)
        if known is not None:
            known.launch()
            return
        # Done before it is recorded: at its first run TensorRT allocates, and takes notice of shapes that changed,
        # which must not happen within a recording. That run is this call's result.
        work()
        if self._record is not None:
            self._remember(key, self._record, work)

    def forget(self) -> None:
        """Forget every graph: whatever they were recorded from has changed."""
        while self._graphs:
            self._graphs.popitem()[1].close()

    def _remember(self, key: Hashable, record: Callable[[Work], Recorded], work: Work) -> None:
        if len(self._graphs) >= self._most:
            self._graphs.pop(next(iter(self._graphs))).close()
        try:
            self._graphs[key] = record(work)
        except EngineError as error:
            _log.warning("running without CUDA graphs: %s", error)
            self._record = None
