"""ONNX Runtime: its float32 is the reference."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.bundle import Bundle
from engines.errors import PrecisionError
from engines.registry import open_engine

backend = pytest.importorskip("engines.backends.onnxruntime")


def test_it_agrees_with_openvino(uncalibrated_bundle: Bundle, frames: NDArray[np.uint8]) -> None:
    pytest.importorskip("engines.backends.openvino")
    with (
        open_engine(uncalibrated_bundle, "onnxruntime") as ours,
        open_engine(uncalibrated_bundle, "openvino", "f32") as theirs,
    ):
        found, expected = ours.infer(frames), theirs.infer(frames)
    for name in ("scores", "maps", "embeddings"):
        scale = np.abs(getattr(expected, name)).max()
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-4 * scale)


@pytest.mark.parametrize("precision", ["f16", "bf16"])
def test_other_precisions_are_refused(uncalibrated_bundle: Bundle, precision: str) -> None:
    with pytest.raises(PrecisionError, match=f"f32 and int8, asked for {precision}.*--engine openvino"):
        open_engine(uncalibrated_bundle, "onnxruntime", precision)


def test_auto_precision_is_float32(uncalibrated_bundle: Bundle) -> None:
    with open_engine(uncalibrated_bundle, "onnxruntime") as engine:
        assert engine.description.precision == "f32"
        assert (
            engine.description.reason
            == "onnxruntime was asked for; f32: the other precision, int8, has to prove its accuracy first"
        )


def test_the_device_has_a_name() -> None:
    assert backend.probe().device
