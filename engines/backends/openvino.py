"""OpenVINO on the CPU: the fastest engine on x86, at a precision that is always named."""

from __future__ import annotations

from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.bundle import Bundle
from engines.cpu import cpu_flags
from engines.engine import Engine, EngineDescription, Inspection, Pending, check_frames
from engines.errors import EngineError, PrecisionError
from engines.probe import Probe
from engines.telemetry import without_telemetry

with without_telemetry():
    import openvino

NAME = "openvino"

_DEVICE = "CPU"
_PRECISIONS = ("f32", "f16", "bf16", "int8")
_CAPABILITIES = {"bf16": "BF16", "f16": "FP16", "f32": "FP32", "int8": "INT8"}
_ANY_BATCH = -1


def probe() -> Probe:
    """What OpenVINO can do on this CPU. Raises EngineError where it finds no CPU that it supports."""
    try:
        core = openvino.Core()
        capabilities = core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
        device = core.get_property(_DEVICE, "FULL_DEVICE_NAME").strip()
    except RuntimeError as error:
        raise EngineError(f"OpenVINO {_version()} cannot use this CPU: {_brief(error)}; choose onnxruntime") from error
    precisions = tuple(name for name, flag in _CAPABILITIES.items() if flag in capabilities)
    return Probe(device, {NAME: _version()}, precisions, *_preferred(precisions, cpu_flags()))


def _preferred(precisions: tuple[str, ...], flags: frozenset[str]) -> tuple[str, str]:
    """Which precision is the fastest, and why.

    OpenVINO lists what a CPU can do, not what pays. ResNet-18 on one AMX Xeon whose instruction sets were limited by
    ONEDNN_MAX_CPU_ISA, bfloat16's time over float32's: with AMX 0.27, with AVX512-BF16 alone 1.42, with AVX512 3.8.
    float16 took 1.6 times float32's time in spite of AVX512-FP16. int8 is never chosen by itself: whether it keeps
    the accuracy has to be measured on the product first (`edge-inspect quantise`).
    """
    if "amx_bf16" in flags and "bf16" in precisions:
        return "bf16", "this CPU multiplies bfloat16 matrices natively (AMX)"
    return "f32", "without AMX a half precision is slower than float32"


def open_engine(bundle: Bundle, precision: str, reason: str, in_flight: int = 1) -> Engine:
    """Compile a bundle's network. Raises EngineError."""
    if precision not in _PRECISIONS:
        raise PrecisionError(
            f"OpenVINO runs bundles in {', '.join(_PRECISIONS)}, asked for {precision}; choose one of them"
        )
    return OpenVinoEngine(bundle, precision, reason, in_flight)


class OpenVinoEngine(Engine):
    """A bundle's network compiled by OpenVINO, the cores shared out among `in_flight` requests."""

    def __init__(self, bundle: Bundle, precision: str, reason: str, in_flight: int) -> None:
        self.input_size = bundle.info.preprocessing.input_size
        self.in_flight = in_flight
        self._usual = bundle.info.preprocessing.squares_a_frame
        facts = probe()
        self.description = EngineDescription(NAME, facts.device, precision, facts.versions, reason)
        self._core: Any = openvino.Core()
        self._bundle = bundle
        self._idle: dict[int, SimpleQueue[Any]] = {}
        self._requests(self._usual)

    def submit(self, frames: NDArray[np.uint8]) -> Pending:
        check_frames(frames, self.input_shape)
        idle = self._requests(len(frames))
        # The tensor shares the frames' memory. It must be writable and contiguous for that, or is copied first.
        shared = np.require(frames, requirements=("C", "W"))
        request = idle.get()
        try:
            request.set_input_tensor(openvino.Tensor(shared, shared_memory=True))
            request.start_async()
        except RuntimeError as error:
            idle.put(request)
            raise EngineError(f"OpenVINO refused {len(frames)} frame(s): {_brief(error)}") from error
        return _Running(request, idle, shared)

    def close(self) -> None:
        self._idle.clear()
        self._core = None

    def _requests(self, frames: int) -> SimpleQueue[Any]:
        """The idle requests for so many frames."""
        if self._core is None:
            raise EngineError("this engine is closed; open another one")
        # A fixed batch is 5 to 7 % faster in bfloat16 than a dynamic one. Only the daemon's, one frame or its tiles,
        # gets it: every compiled network costs its weights' memory once more.
        batch = frames if frames == self._usual else _ANY_BATCH
        if batch not in self._idle:
            compiled = self._compile(batch)
            self._idle[batch] = SimpleQueue()
            for _ in range(self.in_flight + 1):
                self._idle[batch].put(compiled.create_infer_request())
        return self._idle[batch]

    def _compile(self, batch: int) -> Any:
        precision = self.description.precision
        hint = _floating_point(precision)
        options = {"INFERENCE_PRECISION_HINT": hint, "NUM_STREAMS": self.in_flight}
        try:
            model = self._core.read_model(self._bundle.read_network(precision))
            model.reshape([batch, self.input_size, self.input_size, 3])
            compiled = self._core.compile_model(model, _DEVICE, options)
            used = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        except RuntimeError as error:
            raise EngineError(
                f"OpenVINO {_version()} cannot compile the bundle's network in {precision}: {_brief(error)}; "
                "choose --engine onnxruntime, or update it with: pip install -U openvino"
            ) from error
        if used != hint:
            raise PrecisionError(f"asked OpenVINO for {hint}, but this CPU runs {used}; choose --precision f32")
        return compiled


class _Running(Pending):
    """A request at work. It goes back to the idle ones when its outputs are copied out."""

    def __init__(self, request: Any, idle: SimpleQueue[Any], frames: NDArray[np.uint8]) -> None:
        self._request = request
        self._idle = idle
        self._frames = frames  # the request reads their memory

    def result(self) -> Inspection:
        try:
            self._request.wait()
            return Inspection(*(self._output(name) for name in ("scores", "maps", "embeddings")))
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed on {len(self._frames)} frame(s): {_brief(error)}") from error
        finally:
            self._idle.put(self._request)

    def _output(self, name: str) -> NDArray[np.float32]:
        # A copy: the request overwrites its outputs with those of its next frames.
        return np.array(self._request.get_tensor(name).data, np.float32)


def _floating_point(precision: str) -> str:
    """The precision of what is not quantised. int8 leaves the stem and the head, and then some, in floating point."""
    # With an f16 hint int8 networks do not compile, or overflow.
    return probe().preferred if precision == "int8" else precision


def _version() -> str:
    return str(openvino.__version__).partition("-")[0]


def _brief(error: RuntimeError) -> str:
    """Its messages begin with lines that say where in its own source they were raised."""
    return " ".join(line for line in str(error).splitlines() if line and not line.startswith("Exception from"))
