"""TensorRT on an NVIDIA GPU, float16: camera frame, preprocessing kernel, network and results in one CUDA graph.

A request is a stream, an execution context, and memory that stays where it is. Submitting copies a frame to pinned
memory and launches the graph; the one call that waits is `result`. docs/gpu.md draws it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.backends.tensorrt_build import PRECISION, ensure_engine
from engines.backends.tensorrt_library import Flavour, flavour_named, load_library
from engines.backends.tensorrt_request import Plans, Request
from engines.bundle import Bundle
from engines.cuda.binding import load_driver, load_graphs
from engines.cuda.context import CudaContext
from engines.cuda.devices import require_gpu
from engines.cuda.frames import load_preprocessing
from engines.cuda.ledger import Ledger
from engines.cuda.memory import PinnedBuffer
from engines.cuda.sampling import is_known
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


def open_engine(bundle: Bundle, precision: str, reason: str, in_flight: int = 1, flavour: str = NAME) -> TensorRtEngine:
    """Open the bundle's engine for a frame, or its tiles, at a time, built first where there is none.

    Raises EngineError.
    """
    if precision != PRECISION:
        raise PrecisionError(
            f"{flavour_named(flavour).title} runs bundles in {PRECISION}, asked for {precision}; choose --precision "
            f"{PRECISION} or another --engine"
        )
    return open_tensorrt(bundle, flavour, reason, in_flight, bundle.info.preprocessing.squares_a_frame)


def open_tensorrt(
    bundle: Bundle, flavour: str, reason: str, in_flight: int = 1, batch: int = 1, graphs: bool = True
) -> TensorRtEngine:
    """Open an engine for batches of 1 to `batch`; more frames at once are inspected in several goes.

    `graphs` False runs without CUDA graphs, to compare. Raises EngineError.
    """
    return TensorRtEngine(bundle, flavour_named(flavour), reason, in_flight, batch, graphs)


class TensorRtEngine(Engine):
    """A bundle's engine on the first GPU, with a request more than the `in_flight` that it works on side by side."""

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
        with ExitStack() as stack:
            self._context = stack.enter_context(CudaContext())
            requests = self._open(stack, load_library(kind), kind, built.data)
            _prove_preprocessing(requests[0], self.input_size)
            for request in requests:
                self._idle.put(request)
            self._resources: ExitStack | None = stack.pop_all()

    @property
    def ledger(self) -> Ledger:
        """What the engine holds on the GPU; empty after `close`."""
        return self._context.ledger

    def submit(self, frames: NDArray[np.uint8]) -> Pending:
        check_frames(frames, self.input_shape)
        return self._begin(lambda request: request.start(frames))

    def takes(self, preprocessing: Preprocessing) -> bool:
        return preprocessing.input_size == self.input_size and is_known(preprocessing)

    def submit_frame(self, frame: NDArray[np.uint8], preprocessing: Preprocessing) -> Pending:
        if not self.takes(preprocessing):
            raise EngineError(
                f"expected a preprocessing to {self.input_size} pixels that the GPU's kernel knows, found "
                f"{preprocessing}; preprocess the frame and call `submit`"
            )
        return self._begin(lambda request: request.start_frame(frame, preprocessing))

    def pinned_frames(self, count: int, shape: tuple[int, ...]) -> list[NDArray[np.uint8]]:
        """Make room for camera frames in pinned memory; one that is submitted from there is not copied on the CPU.

        They live as long as the engine.
        """
        self._check_open()
        made = [PinnedBuffer(self._context, int(np.prod(shape))) for _ in range(count)]
        self._places += made
        return [place.view(shape) for place in made]

    def close(self) -> None:
        resources, self._resources = self._resources, None
        if resources is not None:
            resources.close()

    def _open(self, stack: ExitStack, library: Any, kind: Flavour, data: bytes) -> list[Request]:
        """Take everything, each thing on `stack` after what it depends on."""
        stack.callback(self._close_places)
        kernel = stack.enter_context(load_preprocessing(self._context))
        plans = stack.enter_context(Plans(self._context, library, kind, data))
        return [
            stack.enter_context(Request(self._context, plans, kernel, self._places, self._graphs))
            for _ in range(self.in_flight + 1)
        ]

    def _close_places(self) -> None:
        for place in self._places:
            place.close()

    def _begin(self, start: Callable[[Request], None]) -> Pending:
        self._check_open()
        request = self._idle.get()
        try:
            start(request)
        except BaseException:
            request.abandon()
            self._idle.put(request)
            raise
        return _Running(self, request)

    def _check_open(self) -> None:
        if self._resources is None:
            raise EngineError("this engine is closed; open another one")

    def _collect(self, request: Request) -> Inspection:
        self._check_open()
        try:
            return request.collect()
        except BaseException:
            request.abandon()
            raise
        finally:
            self._idle.put(request)


class _Running(Pending):
    """A request at work. It goes back to the idle ones when its results are copied out."""

    def __init__(self, engine: TensorRtEngine, request: Request) -> None:
        self._engine = engine
        self._request = request

    def result(self) -> Inspection:
        return self._engine._collect(self._request)


def _prove_preprocessing(request: Request, size: int) -> None:
    """Hold this GPU's kernel to the CPU's preprocessing, on noise that is halved, resized, cropped and turned to RGB.

    Raises EngineError. Thresholds rest on it: golden parts are kept as they look after preprocessing.
    """
    preprocessing = Preprocessing(crop=size, resize=size + 32, roi=(3, 5, 5 * size + 1, 4 * size + 3))
    frame = np.random.default_rng(0).integers(0, 256, (4 * size + 11, 5 * size + 7, 3), np.uint8)
    request.start_frame(frame, preprocessing)
    request.collect()
    difference = int(np.abs(request.read_input().astype(np.int16) - preprocessing(frame)).max())
    if difference > _GREY_LEVELS:
        raise EngineError(
            f"the GPU's preprocessing differs from the CPU's by {difference} grey levels, at most {_GREY_LEVELS} is "
            "right; update the driver, or choose --engine openvino or onnxruntime"
        )
