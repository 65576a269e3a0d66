"""OpenVINO on the CPU: the fastest engine on x86, at a precision that is always named."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.bundle import Bundle
from engines.cpu import cpu_flags
from engines.engine import Engine, EngineDescription, Inspection, check_frames
from engines.errors import EngineError, PrecisionError
from engines.probe import Probe

NAME = "openvino"

_DEVICE = "CPU"
_PRECISIONS = ("f32", "f16", "bf16")
_CAPABILITIES = {"bf16": "BF16", "f16": "FP16", "f32": "FP32"}
_ANY_BATCH = -1


def _import_openvino() -> Any:
    """Import the library with its telemetry off.

    Its import reports to a server and writes to the home directory unless the telemetry package is absent, in which
    case it uses its own stub. So the package is hidden while the import runs; no environment variable does it.
    """
    telemetry = "openvino_telemetry"
    hidden = telemetry not in sys.modules
    if hidden:
        sys.modules[telemetry] = None  # type: ignore[assignment]
    try:
        import openvino
    finally:
        if hidden:
            del sys.modules[telemetry]
    return openvino


openvino = _import_openvino()


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
    float16 took 1.6 times float32's time in spite of AVX512-FP16.
    """
    if "amx_bf16" in flags and "bf16" in precisions:
        return "bf16", "this CPU multiplies bfloat16 matrices natively (AMX)"
    return "f32", "without AMX a half precision is slower than float32"


def open_engine(bundle: Bundle, precision: str, reason: str) -> Engine:
    """Compile a bundle's network. Raises EngineError."""
    if precision not in _PRECISIONS:
        raise PrecisionError(
            f"{bundle.path} holds no {precision} network for OpenVINO; choose --precision {', '.join(_PRECISIONS)}"
        )
    return OpenVinoEngine(bundle, precision, reason)


class OpenVinoEngine(Engine):
    """A bundle's network compiled by OpenVINO; one request a network, reused by every call."""

    def __init__(self, bundle: Bundle, precision: str, reason: str) -> None:
        self.input_size = bundle.info.preprocessing.input_size
        facts = probe()
        self.description = EngineDescription(NAME, facts.device, precision, facts.versions, reason)
        self._core: Any = openvino.Core()
        self._bundle = bundle
        self._requests: dict[int, Any] = {}
        self._request(1)

    def infer(self, frames: NDArray[np.uint8]) -> Inspection:
        check_frames(frames, self.input_size)
        request = self._request(len(frames))
        # The tensor shares the frames' memory. It must be writable and contiguous for that, or is copied first.
        shared = np.require(frames, requirements=("C", "W"))
        try:
            request.set_input_tensor(openvino.Tensor(shared, shared_memory=True))
            request.infer()
            return _collect(request)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed on {len(frames)} frame(s): {_brief(error)}") from error

    def close(self) -> None:
        self._requests.clear()
        self._core = None

    def _request(self, frames: int) -> Any:
        # A fixed batch is 5 to 7 % faster in bfloat16 than a dynamic one. Only the daemon's batch of one gets it:
        # every compiled network costs its weights' memory once more.
        batch = 1 if frames == 1 else _ANY_BATCH
        if batch not in self._requests:
            self._requests[batch] = self._compile(batch)
        return self._requests[batch]

    def _compile(self, batch: int) -> Any:
        if self._core is None:
            raise EngineError("this engine is closed; open another one")
        precision = self.description.precision
        options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        try:
            model = self._core.read_model(self._bundle.read_model())
            model.reshape([batch, self.input_size, self.input_size, 3])
            compiled = self._core.compile_model(model, _DEVICE, options)
            used = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        except RuntimeError as error:
            raise EngineError(
                f"OpenVINO {_version()} cannot compile the bundle's network in {precision}: {_brief(error)}; "
                "choose --engine onnxruntime, or update it with: pip install -U openvino"
            ) from error
        if used != precision:
            raise PrecisionError(f"asked OpenVINO for {precision}, but this CPU runs {used}; choose --precision f32")
        return compiled.create_infer_request()


def _version() -> str:
    return str(openvino.__version__).partition("-")[0]


def _brief(error: RuntimeError) -> str:
    """Its messages begin with lines that say where in its own source they were raised."""
    return " ".join(line for line in str(error).splitlines() if line and not line.startswith("Exception from"))


def _collect(request: Any) -> Inspection:
    """Copy the outputs out: the request overwrites its own on the next call."""
    return Inspection(*(request.get_tensor(name).data.copy() for name in ("scores", "maps", "embeddings")))
