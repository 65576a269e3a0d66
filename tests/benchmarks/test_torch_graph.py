"""The stand-in for TensorRT. That it is recorded and replayed is tested on a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.torch_graph import TorchGraph
from engines.bundle import Bundle
from engines.errors import EngineError
from engines.registry import open_engine


def test_without_a_gpu_it_says_so(uncalibrated_bundle: Bundle) -> None:
    if torch.cuda.is_available():
        pytest.skip("PyTorch finds a GPU here")
    with pytest.raises(EngineError, match="PyTorch finds no GPU"):
        TorchGraph(uncalibrated_bundle.read_network(), (1, 128, 128, 3))


@pytest.mark.gpu
def test_the_graph_replays_what_was_recorded(uncalibrated_bundle: Bundle) -> None:
    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no GPU here")
    size = uncalibrated_bundle.info.preprocessing.input_size
    frames = np.random.default_rng(0).integers(0, 256, (3, 1, size, size, 3), np.uint8)
    graph = TorchGraph(uncalibrated_bundle.read_network(), frames[0].shape)
    with open_engine(uncalibrated_bundle, "onnxruntime", "f32") as engine:
        for frame in frames:
            expected = engine.infer(frame)
            assert np.abs(graph.infer(frame).maps - expected.maps).max() < 0.2 * expected.maps.std()
