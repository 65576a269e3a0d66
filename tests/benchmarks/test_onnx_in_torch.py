"""PyTorch computes the bundle's own network, in the types that the graph names."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.onnx_in_torch import OUTPUTS, OnnxInTorch
from engines.bundle import Bundle
from engines.errors import EngineError
from engines.registry import open_engine

onnx = pytest.importorskip("onnx")


def test_it_computes_what_the_engines_compute(uncalibrated_bundle: Bundle) -> None:
    size = uncalibrated_bundle.info.preprocessing.input_size
    frames = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
    with open_engine(uncalibrated_bundle, "onnxruntime", "f32") as engine:
        expected = engine.infer(frames)
    network = OnnxInTorch(uncalibrated_bundle.read_network(), torch.device("cpu"))
    for name, found in zip(OUTPUTS, network(torch.from_numpy(frames)), strict=True):
        truth = getattr(expected, name)
        np.testing.assert_allclose(found.numpy(), truth, atol=1e-4 * np.abs(truth).max())


def test_two_types_in_one_operator_are_refused(uncalibrated_bundle: Bundle) -> None:
    model = onnx.load_model_from_string(uncalibrated_bundle.read_network())
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "conv1.weight")
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight).astype(np.float16), weight.name))
    network = OnnxInTorch(model.SerializeToString(), torch.device("cpu"))
    with pytest.raises(EngineError, match="expected one type of numbers in conv1"):
        network(torch.zeros((1, 64, 64, 3), dtype=torch.uint8))


def test_an_operator_that_it_does_not_know_is_named(uncalibrated_bundle: Bundle) -> None:
    model = onnx.load_model_from_string(uncalibrated_bundle.read_network())
    model.graph.node[0].op_type = "Shrink"
    with pytest.raises(EngineError, match="found Shrink"):
        OnnxInTorch(model.SerializeToString(), torch.device("cpu"))
