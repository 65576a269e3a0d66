"""One request to a TensorRT engine: a stream, an execution context, and memory at fixed addresses.

Only what 8.5 to 11 and TensorRT-RTX have in common is called: tensors by name, `set_tensor_address`,
`execute_async_v3`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.backends.tensorrt_library import Flavour, make_logger
from engines.cuda.binding import CudaError, cuda_errors
from engines.cuda.context import CudaContext
from engines.cuda.frames import FrameIntake
from engines.cuda.graph import Graph, Replay
from engines.cuda.memory import DeviceBuffer, PinnedBuffer
from engines.cuda.module import Module
from engines.cuda.stream import Stream
from engines.engine import Inspection
from engines.errors import EngineError
from engines.preprocess import Preprocessing

INPUT = "frames"
OUTPUTS = ("scores", "maps", "embeddings")

_SHARED_PROFILES_SINCE = 10


class Plans:
    """A deserialised engine, as often as its execution contexts need it. Raises EngineError with TensorRT's words.

    Up to 8.6 an optimisation profile serves one execution context at a time, so each gets an engine of its own, which
    costs the weights' memory once more. From 10 on, and in TensorRT-RTX, contexts share.
    """

    def __init__(self, context: CudaContext, library: Any, flavour: Flavour, data: bytes) -> None:
        self._context = context
        self._title = f"{flavour.title} {library.__version__}"
        self._shared = flavour.name != "tensorrt" or int(library.__version__.split(".")[0]) >= _SHARED_PROFILES_SINCE
        self._data = data
        self._logger = make_logger(library)
        with context.active():
            self._runtime: Any = library.Runtime(self._logger)
            self._engines: list[Any] = [self._deserialise()]
        self._fresh = True

    @property
    def batch(self) -> int:
        """The largest batch."""
        return int(self._engines[0].get_tensor_profile_shape(INPUT, 0)[2][0])

    def shape(self, name: str, batch: int) -> tuple[int, ...]:
        """The shape of a tensor for so many frames."""
        sides = [int(side) for side in tuple(self._engines[0].get_tensor_shape(name))[1:]]
        if min(sides, default=1) < 1:
            raise self.failure(f"leaves the shape of {name} open, {sides}")
        return (batch, *sides)

    def make_context(self) -> Any:
        """Return another execution context; the CUDA context must be current."""
        if not self._shared and not self._fresh:
            self._engines.append(self._deserialise())
        self._fresh = False
        made = self._engines[-1].create_execution_context()
        if made is None:
            raise EngineError(f"{self._title} has no room for another request ({self._words()}); lower `in_flight`")
        return made

    def failure(self, what: str) -> EngineError:
        """The error for a call that TensorRT refused."""
        return EngineError(f"{self._title} {what} ({self._words()}); choose --engine openvino or onnxruntime")

    def __enter__(self) -> Plans:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._context.active():
            self._engines.clear()
            self._runtime = None

    def _deserialise(self) -> Any:
        engine = self._runtime.deserialize_cuda_engine(self._data)
        if engine is None:
            raise self.failure("cannot load the engine that was built for it; delete it, or see what it says")
        return engine

    def _words(self) -> str:
        return "; ".join(" ".join(message.split()) for message in self._logger.errors) or "it gives no reason"


class Request:
    """Room for one inspection at a time: `start` or `start_frame`, then `collect`, from any threads.

    `places` is pinned memory in which camera frames may lie. Works with CUDA graphs where `graphs` says so.
    """

    def __init__(
        self, context: CudaContext, plans: Plans, kernel: Module, places: Sequence[PinnedBuffer], graphs: bool
    ) -> None:
        self._context = context
        self._plans = plans
        self._shape = 0
        self._rest: NDArray[np.uint8] | None = None
        with ExitStack() as stack:
            self._stream = stack.enter_context(Stream(context))
            self._allocate(stack)
            self._intake = FrameIntake(context, self._stream, kernel, self._input.address, places)
            stack.callback(self._intake.close)
            self._replay = Replay(self._record if graphs else None)
            stack.callback(self._replay.forget)
            with context.active():
                self._execution: Any = self._connect()
            stack.callback(self._drain)
            self._resources = stack.pop_all()

    def start(self, frames: NDArray[np.uint8]) -> None:
        """Begin with preprocessed frames `(N, S, S, 3)`. They must not change before `collect`."""
        self._rest = frames
        with self._context.active():
            self._start_next()

    def start_frame(self, frame: NDArray[np.uint8], preprocessing: Preprocessing) -> None:
        """Begin with one camera frame, which must not change before `collect`."""
        self._rest = None
        with self._context.active(), cuda_errors("inspecting a frame"):
            prepared = self._intake.prepare(frame, preprocessing)
            self._run(1, prepared.key, prepared.enqueue)

    def collect(self) -> Inspection:
        """Wait for the results of all frames and copy them out. Raises EngineError."""
        found: list[list[NDArray[np.float32]]] = []
        with self._context.active():
            while True:
                self._stream.synchronise()
                found.append([self._results[name][: self._shape].copy() for name in OUTPUTS])
                if self._rest is None or not len(self._rest):
                    break
                self._start_next()
        # One go, the daemon's case, is not copied again.
        return Inspection(
            *(parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in zip(*found, strict=True))
        )

    def abandon(self) -> None:
        """After a failure: wait for whatever is still running, so that the next inspection may begin."""
        self._rest = None
        with contextlib.suppress(CudaError), self._context.active():
            self._stream.synchronise()

    def read_input(self) -> NDArray[np.uint8]:
        """What the network saw last, RGB uint8 `(S, S, 3)`; for a proof, not for the hot path."""
        shape = self._plans.shape(INPUT, 1)
        with self._context.active(), PinnedBuffer(self._context, int(np.prod(shape))) as copy:
            self._input.download(copy.view(shape), self._stream)
            self._stream.synchronise()
            return np.array(copy.view(shape)[0])

    def __enter__(self) -> Request:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()

    def _allocate(self, stack: ExitStack) -> None:
        batch = self._plans.batch
        size = int(np.prod(self._plans.shape(INPUT, batch)))
        self._input = stack.enter_context(DeviceBuffer(self._context, size))
        self._squares = stack.enter_context(PinnedBuffer(self._context, size)).view(self._plans.shape(INPUT, batch))
        self._outputs: dict[str, DeviceBuffer] = {}
        self._results: dict[str, NDArray[np.float32]] = {}
        for name in OUTPUTS:
            shape = self._plans.shape(name, batch)
            size = 4 * int(np.prod(shape))
            self._outputs[name] = stack.enter_context(DeviceBuffer(self._context, size))
            self._results[name] = stack.enter_context(PinnedBuffer(self._context, size)).view(shape, np.float32)

    def _connect(self) -> Any:
        """An execution context that knows where its tensors are."""
        execution = self._plans.make_context()
        for name, buffer in ((INPUT, self._input), *self._outputs.items()):
            if not execution.set_tensor_address(name, buffer.address):
                raise self._plans.failure(f"refuses the memory of {name}")
        return execution

    def _drain(self) -> None:
        """Wait for what is still running, and give the execution context back."""
        with self._context.active():
            try:
                self._stream.synchronise()
            finally:
                self._execution = None

    def _record(self, work: Callable[[], None]) -> Graph:
        return Graph(self._context, self._stream, work)

    def _start_next(self) -> None:
        """Put the next frames of those that were submitted on the stream, as many as fit."""
        frames = self._rest
        if frames is None:
            return
        batch = min(len(frames), self._plans.batch)
        np.copyto(self._squares[:batch], frames[:batch])
        self._rest = frames[batch:] if len(frames) > batch else None
        pinned = self._squares[:batch]
        with cuda_errors(f"inspecting {batch} frame(s)"):
            self._run(batch, "squares", lambda: self._input.upload(pinned, self._stream))

    def _run(self, batch: int, key: Hashable, fill: Callable[[], None]) -> None:
        """Put `fill`, the network and the copies of its results on the stream, as one graph where it is known."""
        if batch != self._shape:
            # A graph was recorded from the execution context as it was then.
            self._replay.forget()
            self._shape = 0
            if not self._execution.set_input_shape(INPUT, self._plans.shape(INPUT, batch)):
                raise self._plans.failure(f"refuses a batch of {batch}")
            self._shape = batch
        self._replay.run(key, lambda: self._enqueue(batch, fill))

    def _enqueue(self, batch: int, fill: Callable[[], None]) -> None:
        fill()
        if not self._execution.execute_async_v3(self._stream.handle):
            raise self._plans.failure(f"failed on {batch} frame(s)")
        for name in OUTPUTS:
            self._outputs[name].download(self._results[name][:batch], self._stream)
