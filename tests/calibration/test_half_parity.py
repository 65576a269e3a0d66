"""The parity gate for half precision: the network that TensorRT gets, run by ONNX Runtime on the CPU.

Only the arithmetic is another one than on a GPU. Calibration, parity record, golden parts and gate are the real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.golden import check_parity
from calibration.procedure import calibrate
from engines import half
from engines.backends.onnxruntime import onnxruntime
from engines.bundle import Bundle
from engines.engine import Engine, EngineDescription, Inspection, Pending
from engines.images import list_images, read_image

pytest.importorskip("onnx")


class Done(Pending):
    """A result that is there."""

    def __init__(self, inspection: Inspection) -> None:
        self._inspection = inspection

    def result(self) -> Inspection:
        return self._inspection


class HalfOnCpu(Engine):
    """A half-precision network under the name of TensorRT's engine."""

    def __init__(self, network: bytes, size: int) -> None:
        self.input_size = size
        self.in_flight = 1
        self.description = EngineDescription("tensorrt", "CPU", "f16", {"onnxruntime": onnxruntime.__version__})
        self._session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])

    def submit(self, frames: NDArray[np.uint8]) -> Pending:
        return Done(Inspection(*self._session.run(["scores", "maps", "embeddings"], {"frames": frames})))

    def close(self) -> None:
        pass


@pytest.fixture
def bundle(uncalibrated_bundle: Bundle, bundle_copy: Callable[[Bundle], Bundle]) -> Bundle:
    return bundle_copy(uncalibrated_bundle)


@pytest.fixture
def network(bundle: Bundle) -> bytes:
    return half.derive(bundle.read_network(), half.extreme_frames(bundle.info.preprocessing.input_size)).data


@pytest.fixture
def parts(bundle: Bundle, part_photos: Path) -> list[NDArray[np.uint8]]:
    return [bundle.info.preprocessing(read_image(path)) for path in list_images(part_photos / "test" / "good")]


def test_half_precision_has_its_own_calibration_and_passes_its_gate(
    bundle: Bundle, network: bytes, parts: list[NDArray[np.uint8]]
) -> None:
    engine = HalfOnCpu(network, bundle.info.preprocessing.input_size)
    calibrated = calibrate(bundle, engine, parts, 0.05)
    calibration = calibrated.calibration_for("tensorrt", "f16")
    row = next(row for row in calibration.parity if (row.backend, row.precision) == ("tensorrt", "f16"))
    assert row.reference == "onnxruntime f32"
    assert 0 < row.max_score_error < 0.05 * row.score_spread
    assert row.verdict_flips == 0
    assert calibration.golden_tolerance >= 2 * row.max_score_error
    assert check_parity(engine, calibrated, calibration).passed


def test_the_gate_notices_another_network(bundle: Bundle, network: bytes, parts: list[NDArray[np.uint8]]) -> None:
    size = bundle.info.preprocessing.input_size
    calibrated = calibrate(bundle, HalfOnCpu(network, size), parts, 0.05)
    calibration = calibrated.calibration_for("tensorrt", "f16")
    import onnx

    model = onnx.load_model_from_string(network)
    for tensor in model.graph.initializer:
        if tensor.name == "layer1.0.conv1.weight.half":
            array = onnx.numpy_helper.to_array(tensor) * np.float16(1.1)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    gate = check_parity(HalfOnCpu(model.SerializeToString(), size), calibrated, calibration)
    assert not gate.passed
    assert "does not compute what was calibrated" in gate.reason
