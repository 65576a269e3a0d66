"""The bundle's own ONNX graph in PyTorch, half precision, replayed as a CUDA graph.

A stand-in for a GPU to which TensorRT cannot be brought, and never called TensorRT: PyTorch's kernels are others, and
nothing is fused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engines.engine import Inspection
from engines.errors import EngineError

OUTPUTS = ("scores", "maps", "embeddings")

_Node = Callable[..., Tensor]


class OnnxInTorch:
    """Runs a network of `engines.export` node by node, in `dtype` inside and float32 at its outputs."""

    def __init__(self, model: bytes, device: torch.device, dtype: torch.dtype) -> None:
        graph = onnx.load_from_string(model).graph
        self._dtype = dtype
        self._nodes = [(node, _attributes(node)) for node in graph.node]
        self._constants = {each.name: _constant(each, device, dtype) for each in graph.initializer}
        unknown = {node.op_type for node, _ in self._nodes} - set(_NODES)
        if unknown:
            raise EngineError(f"PyTorch's stand-in knows no {', '.join(sorted(unknown))}; add it to {__file__}")

    @torch.inference_mode()
    def __call__(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Scores, maps and embeddings of uint8 frames `(N, S, S, 3)`."""
        values: dict[str, Any] = {**self._constants, "frames": frames.to(self._dtype)}
        for node, attributes in self._nodes:
            inputs = [values[name] if name else None for name in node.input]
            values[node.output[0]] = _NODES[node.op_type](*inputs, **attributes)
        return tuple(values[name].float() for name in OUTPUTS)


class TorchGraph:
    """One batch size of a network as a CUDA graph of PyTorch's. Raises EngineError where PyTorch has no GPU."""

    def __init__(self, model: bytes, shape: tuple[int, ...]) -> None:
        if not torch.cuda.is_available():
            raise EngineError("PyTorch finds no GPU here; install its CUDA build")
        network = OnnxInTorch(model, torch.device("cuda"), torch.float16)
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


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}


def _constant(tensor: onnx.TensorProto, device: torch.device, dtype: torch.dtype) -> Any:
    array = onnx.numpy_helper.to_array(tensor)
    if array.dtype.kind != "f":
        return array.tolist()
    found = torch.from_numpy(array.copy()).to(device, dtype)
    return found.contiguous(memory_format=torch.channels_last) if found.ndim == 4 else found


def _conv(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, strides: list[int], pads: list[int], **_: Any
) -> Tensor:
    return functional.conv2d(x, weight, bias, strides, pads[:2])


def _resize(x: Tensor, _: Any, scales: Tensor, **__: Any) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


_NODES: dict[str, _Node] = {
    "Cast": lambda x, to: x,  # what is half and what is float is decided for the whole network
    "Transpose": lambda x, perm: x.permute(perm),
    "Sub": torch.sub,
    "Add": torch.add,
    "Relu": torch.relu,
    "LeakyRelu": lambda x, alpha: functional.leaky_relu(x, alpha),
    "Conv": _conv,
    "MaxPool": lambda x, kernel_shape, strides, pads: functional.max_pool2d(x, kernel_shape, strides, pads[:2]),
    "AveragePool": lambda x, kernel_shape, pads, count_include_pad: functional.avg_pool2d(x, kernel_shape, 1, pads[:2]),
    "Resize": _resize,
    "GlobalMaxPool": lambda x: x.amax(dim=(2, 3), keepdim=True),
    "GlobalAveragePool": lambda x: x.mean(dim=(2, 3), keepdim=True),
    "Reshape": lambda x, shape: x.reshape(shape),
    "MatMul": torch.matmul,
    "Squeeze": lambda x, axes: x.squeeze(tuple(axes)),
    "Concat": lambda *parts, axis: torch.cat(parts, axis),
    "Flatten": lambda x, axis: x.flatten(axis),
}
