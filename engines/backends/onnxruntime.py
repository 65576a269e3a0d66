"""ONNX Runtime on the CPU, float32 and int8: runs everywhere; its float32 is what other engines are compared with."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.bundle import Bundle
from engines.cpu import cpu_name
from engines.engine import Engine, EngineDescription, Inspection, Pending, check_frames
from engines.errors import EngineError, PrecisionError
from engines.probe import Probe
from engines.telemetry import without_telemetry

with without_telemetry():
    import onnxruntime

NAME = "onnxruntime"

_PRECISIONS = ("f32", "int8")
_OUTPUTS = ["scores", "maps", "embeddings"]


def probe() -> Probe:
    """What ONNX Runtime can do here."""
    reason = "the other precision, int8, has to prove its accuracy first"
    return Probe(cpu_name(), {"onnxruntime": onnxruntime.__version__}, _PRECISIONS, "f32", reason)


def open_engine(bundle: Bundle, precision: str, reason: str, in_flight: int = 1) -> Engine:
    """Build the session of a bundle's network. Raises EngineError."""
    if precision not in _PRECISIONS:
        raise PrecisionError(
            f"ONNX Runtime runs bundles in {' and '.join(_PRECISIONS)}, asked for {precision}; choose --precision f32 "
            "or --engine openvino"
        )
    return OnnxRuntimeEngine(bundle, precision, reason, in_flight)


class OnnxRuntimeEngine(Engine):
    """A bundle's network in an ONNX Runtime session, the cores shared out among `in_flight` threads that call it."""

    def __init__(self, bundle: Bundle, precision: str, reason: str, in_flight: int) -> None:
        self.input_size = bundle.info.preprocessing.input_size
        self.in_flight = in_flight
        self._usual = bundle.info.preprocessing.squares_a_frame
        self.description = EngineDescription(NAME, cpu_name(), precision, probe().versions, reason)
        self._session: Any = _session(bundle, precision, in_flight)
        self._release_arena = onnxruntime.RunOptions()
        self._release_arena.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._callers = ThreadPoolExecutor(in_flight, thread_name_prefix=NAME)
        self._room = BoundedSemaphore(in_flight + 1)

    def submit(self, frames: NDArray[np.uint8]) -> Pending:
        check_frames(frames, self.input_shape)
        if self._session is None:
            raise EngineError("this engine is closed; open another one")
        self._room.acquire()
        return _Running(self._callers.submit(self._run, frames), self._room)

    def close(self) -> None:
        self._callers.shutdown()
        self._session = None

    def _run(self, frames: NDArray[np.uint8]) -> Inspection:
        # The arena keeps its largest size for good: a single batch of 32 frames left ResNet-18 390 MiB larger, with
        # shrinkage 45. One frame, or its tiles, the daemon's case, needs none and is some percent faster without.
        options = self._release_arena if len(frames) > self._usual else None
        try:
            return Inspection(*self._session.run(_OUTPUTS, {"frames": np.ascontiguousarray(frames)}, options))
        except Exception as error:  # its errors share no narrower base
            raise EngineError(f"ONNX Runtime failed on {len(frames)} frame(s): {error}") from error


class _Running(Pending):
    """A call in another thread."""

    def __init__(self, call: Future[Inspection], room: BoundedSemaphore) -> None:
        self._call = call
        self._room = room

    def result(self) -> Inspection:
        try:
            return self._call.result()
        finally:
            self._room.release()


def _session(bundle: Bundle, precision: str, in_flight: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, len(os.sched_getaffinity(0)) // in_flight)
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads steal the cores from capture and publishing: without them a frame took 0.64 times as long
    # beside other work, 1.02 to 1.07 times on an idle machine, and a third less CPU time in both cases.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        network = bundle.read_network(precision)
        return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    except PrecisionError:
        raise
    except Exception as error:  # its errors share no narrower base
        raise EngineError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load {bundle.model_path}: {error}; "
            "update it with: pip install -U onnxruntime"
        ) from error
