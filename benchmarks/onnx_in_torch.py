"""Runs an exported ONNX network in PyTorch, one operator at a time, each in the type that its inputs have.

Half precision is really half there: every result is rounded to it, and an operator that mixes two types is refused.
ONNX Runtime's CPU kernels are no such check: they compute half in float32 and leave out roundings between layers.
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

from engines.errors import EngineError

OUTPUTS = ("scores", "maps", "embeddings")

_TYPES = {onnx.TensorProto.FLOAT: torch.float32, onnx.TensorProto.FLOAT16: torch.float16}
_Operator = Callable[..., Tensor]


class OnnxInTorch:
    """A network of `engines.export`, or its half-precision form, on a PyTorch device.

    Raises EngineError for an operator that it does not know.
    """

    def __init__(self, network: bytes, device: torch.device) -> None:
        graph = onnx.load_model_from_string(network).graph
        self._nodes = [(node, _attributes(node)) for node in graph.node]
        self._constants = {tensor.name: _constant(tensor, device) for tensor in graph.initializer}
        unknown = {node.op_type for node, _ in self._nodes} - set(_OPERATORS)
        if unknown:
            raise EngineError(f"expected operators of the exported network, found {', '.join(sorted(unknown))}, too")

    def __call__(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Scores, maps and embeddings of uint8 frames `(N, S, S, 3)` on the network's device."""
        values = self.values(frames)
        return tuple(values[name] for name in OUTPUTS)

    @torch.inference_mode()
    def values(self, frames: Tensor) -> dict[str, Tensor]:
        """Every layer's output by its name. Raises EngineError where an operator's inputs are of two types."""
        values: dict[str, Any] = {**self._constants, "frames": frames}
        for node, attributes in self._nodes:
            inputs = [values[name] for name in node.input if name]
            types = {x.dtype for x in inputs if isinstance(x, Tensor) and x.is_floating_point()}
            if len(types) > 1:
                raise EngineError(f"expected one type of numbers in {node.name}, found {types}")
            values[node.output[0]] = _OPERATORS[node.op_type](*inputs, **attributes)
        return values


def run_in_torch(network: bytes, frames: NDArray[np.uint8]) -> dict[str, Tensor]:
    """Every layer's output by its name on the CPU, for frames `(N, S, S, 3)`."""
    return OnnxInTorch(network, torch.device("cpu")).values(torch.from_numpy(frames))


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}


def _constant(tensor: onnx.TensorProto, device: torch.device) -> Any:
    array = onnx.numpy_helper.to_array(tensor)
    # Shapes, axes and scales as lists: PyTorch wants them on the CPU, and a recorded graph must not fetch them.
    if array.dtype.kind != "f" or tensor.name.endswith("scales"):
        return array.tolist()
    found = torch.from_numpy(array.copy()).to(device)
    return found.contiguous(memory_format=torch.channels_last) if found.ndim == 4 else found


def _conv(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, strides: list[int], pads: list[int], **_: Any
) -> Tensor:
    return functional.conv2d(x, weight, bias, strides, pads[:2])


def _resize(x: Tensor, scales: list[float], **_: Any) -> Tensor:
    return functional.interpolate(x, scale_factor=scales[2:], mode="bilinear", align_corners=False)


_OPERATORS: dict[str, _Operator] = {
    "Cast": lambda x, to: x.to(_TYPES[to]),
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
