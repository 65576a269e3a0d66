"""The bundle's half-precision ONNX graph in PyTorch, replayed as a CUDA graph.

A stand-in for a GPU to which TensorRT cannot be brought, and never called TensorRT: PyTorch's kernels are others, and
nothing is fused.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.onnx_in_torch import OnnxInTorch
from engines import half
from engines.engine import Inspection
from engines.errors import EngineError


class TorchGraph:
    """A float32 network brought to half precision, as a CUDA graph for frames of one shape `(N, S, S, 3)`.

    Raises EngineError where PyTorch has no GPU.
    """

    def __init__(self, model: bytes, shape: tuple[int, ...]) -> None:
        if not torch.cuda.is_available():
            raise EngineError("PyTorch finds no GPU here; install its CUDA build")
        derived = half.derive(model, half.extreme_frames(shape[1])).data
        network = OnnxInTorch(derived, torch.device("cuda"))
        self._pinned = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        self._input = torch.empty(shape, dtype=torch.uint8, device="cuda")
        self._stream = torch.cuda.Stream()
        with torch.cuda.stream(self._stream):
            for _ in range(3):  # cuDNN chooses and allocates, which a recording must not see
                outputs = network(self._input)
            self._results = [torch.empty_like(output, device="cpu", pin_memory=True) for output in outputs]
            self._stream.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=self._stream):
                self._input.copy_(self._pinned, non_blocking=True)
                for result, output in zip(self._results, network(self._input), strict=True):
                    result.copy_(output, non_blocking=True)

    def infer(self, frames: NDArray[np.uint8]) -> Inspection:
        """Inspect frames of the shape that it was recorded for, and wait."""
        self._pinned.numpy()[:] = frames
        with torch.cuda.stream(self._stream):
            self._graph.replay()
        self._stream.synchronize()
        return Inspection(*(result.numpy().copy() for result in self._results))
