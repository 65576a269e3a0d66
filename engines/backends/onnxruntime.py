"""ONNX Runtime on the CPU in float32: runs everywhere, and is the reference that other engines are compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from engines.bundle import Bundle
from engines.cpu import cpu_name
from engines.engine import Engine, EngineDescription, Inspection, check_frames
from engines.errors import EngineError, PrecisionError
from engines.probe import Probe

NAME = "onnxruntime"

_OUTPUTS = ["scores", "maps", "embeddings"]


def probe() -> Probe:
    """What ONNX Runtime can do here."""
    return Probe(cpu_name(), {"onnxruntime": onnxruntime.__version__}, ("f32",), "f32", "ONNX Runtime runs f32 only")


def open_engine(bundle: Bundle, precision: str, reason: str) -> Engine:
    """Build the session of a bundle's network. Raises EngineError."""
    if precision != "f32":
        raise PrecisionError(
            f"ONNX Runtime runs bundles in f32 only, asked for {precision}; choose --precision f32 or --engine openvino"
        )
    return OnnxRuntimeEngine(bundle, reason)


class OnnxRuntimeEngine(Engine):
    """A bundle's network in an ONNX Runtime session, float32, all cores."""

    def __init__(self, bundle: Bundle, reason: str) -> None:
        self.input_size = bundle.info.preprocessing.input_size
        self.description = EngineDescription(NAME, cpu_name(), "f32", probe().versions, reason)
        self._session: Any = _session(bundle)
        self._release_arena = onnxruntime.RunOptions()
        self._release_arena.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def infer(self, frames: NDArray[np.uint8]) -> Inspection:
        check_frames(frames, self.input_size)
        if self._session is None:
            raise EngineError("this engine is closed; open another one")
        # The arena keeps its largest size for good: a single batch of 32 frames left ResNet-18 390 MiB larger, with
        # shrinkage 45. A single frame, the daemon's case, needs none and is some percent faster without.
        options = self._release_arena if len(frames) > 1 else None
        try:
            outputs = self._session.run(_OUTPUTS, {"frames": np.ascontiguousarray(frames)}, options)
        except Exception as error:  # its errors share no narrower base
            raise EngineError(f"ONNX Runtime failed on {len(frames)} frame(s): {error}") from error
        return Inspection(*outputs)

    def close(self) -> None:
        self._session = None


def _session(bundle: Bundle) -> Any:
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads steal the cores from capture and publishing: without them a frame took 0.64 times as long
    # beside other work, 1.02 to 1.07 times on an idle machine, and a third less CPU time in both cases.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(bundle.read_model(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no narrower base
        raise EngineError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load {bundle.model_path}: {error}; "
            "update it with: pip install -U onnxruntime"
        ) from error
