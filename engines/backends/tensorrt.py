"""TensorRT on an NVIDIA GPU, float16: camera frame, preprocessing kernel, network and results in one CUDA graph.

A request is a stream, an execution context, and memory that stays where it is. Submitting copies a frame to pinned
memory and launches the graph; the one call that waits is `result`. docs/gpu.md draws it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.backends.tensorrt_build import PRECISION, ensure_engine
from engines.backends.tensorrt_library import Flavour, flavour_named, load_library, make_logger
from engines.backends.tensorrt_request import Request
from engines.bundle import Bundle
from engines.cuda.binding import load_driver, load_graphs
from engines.cuda.context import CudaContext
from engines.cuda.devices import require_gpu
from engines.cuda.frames import load_preprocessing
from engines.cuda.memory import PinnedBuffer
from engines.engine import Engine, EngineDescription, Inspection, Pending, check_frames
from engines.errors import EngineError, PrecisionError
from engines.preprocess import Preprocessing
from engines.probe import Probe

NAME = "tensorrt"

_log = logging.getLogger(__name__)
# What the kernel may differ by from the CPU's preprocessing, in grey levels. It is written to differ by none.
_GREY_LEVELS = 1


def probe(flavour: str = NAME) -> Probe:
    """What TensorRT can do on the first GPU. Raises EngineError where there is none, or a library is missing."""
    gpu = require_gpu()
    kind = flavour_named(flavour)
    library = load_library(kind)
    load_driver()
    versions = {kind.name: library.__version__, "driver": gpu.driver, "cuda": gpu.cuda}
    return Probe(gpu.name, versions, (PRECISION,), PRECISION, f"{kind.title} runs the network in half precision")


def open_engine(
    bundle: Bundle,
    precision: str,
    reason: str,
    in_flight: int = 1,
    flavour: str = NAME,
    batch: int = 1,
    graphs: bool = True,
) -> Engine:
    """Open the bundle's engine for batches of 1 to `batch`, built first where there is none. Raises EngineError.

    A larger batch is inspected in several goes. `graphs` False runs without CUDA graphs, to compare.
    """
    if precision != PRECISION:
        raise PrecisionError(
            f"{flavour_named(flavour).title} runs bundles in {PRECISION}, asked for {precision}; choose --precision "
            f"{PRECISION} or another --engine"
        )
    return TensorRtEngine(bundle, flavour_named(flavour), reason, in_flight, batch, graphs)


class TensorRtEngine(Engine):
    """A bundle's engine on the first GPU, with a request more than the `in_flight` that it works on side by side."""

    takes_frames = True

    def __init__(
        self, bundle: Bundle, kind: Flavour, reason: str, in_flight: int, batch: int = 1, graphs: bool = True
    ) -> None:
        self.input_size = bundle.info.preprocessing.input_size
        self.in_flight = in_flight
        facts = probe(kind.name)
        self._graphs = graphs and load_graphs() is not None
        reason = f"{reason}; {'with' if self._graphs else 'without'} CUDA graphs"
        self.description = EngineDescription(kind.name, facts.device, PRECISION, facts.versions, reason)
        built = ensure_engine(bundle, kind.name, batch, progress=_log.info)
        self._idle: SimpleQueue[Request] = SimpleQueue()
        self._places: list[PinnedBuffer] = []
        self._requests: list[Request] = []
        with ExitStack() as stack:
            self._context = stack.enter_context(CudaContext())
            self._open(stack, load_library(kind), built.data, batch)
            self._prove_preprocessing()
            self._resources: ExitStack | None = stack.pop_all()

    def submit(self, frames: NDArray[np.uint8]) -> Pending:
        check_frames(frames, self.input_size)
        return self._begin(lambda request: request.start(frames))

    def submit_frame(self, frame: NDArray[np.uint8], preprocessing: Preprocessing) -> Pending:
        if preprocessing.input_size != self.input_size:
            raise EngineError(
                f"expected a preprocessing to {self.input_size} pixels, found one to {preprocessing.input_size}; pass "
                "the bundle's own"
            )
        return self._begin(lambda request: request.start_frame(frame, preprocessing))

    def pinned_frames(self, count: int, shape: tuple[int, ...]) -> list[NDArray[np.uint8]]:
        """Make room for camera frames in pinned memory; one that is submitted from there is not copied on the CPU.

        They live as long as the engine.
        """
        size = int(np.prod(shape))
        made = [PinnedBuffer(self._context, size) for _ in range(count)]
        self._places += made
        return [place.view(shape) for place in made]

    def close(self) -> None:
        resources, self._resources = self._resources, None
        if resources is not None:
            resources.close()

    def _open(self, stack: ExitStack, library: Any, data: bytes, batch: int) -> None:
        """Take everything, each thing pushed on `stack` in the order in which it depends on others."""
        stack.callback(lambda: [place.close() for place in self._places])
        kernel = stack.enter_context(load_preprocessing(self._context))
        engines = _Engines(library, self._context, data)
        stack.callback(engines.close)
        for _ in range(self.in_flight + 1):
            record = self._graphs
            request = Request(self._context, engines.make_context, batch, kernel, self._places, record)
            stack.callback(request.close)
            self._requests.append(request)
            self._idle.put(request)
