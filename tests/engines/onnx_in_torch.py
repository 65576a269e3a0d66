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
from torch import Tensor, nn

TYPES = {onnx.TensorProto.FLOAT: torch.float32, onnx.TensorProto.FLOAT16: torch.float16}
Operator = Callable[..., Tensor]


def run_in_torch(network: bytes, frames: NDArray[np.uint8]) -> dict[str, Tensor]:
    """Every tensor of the network by its name, for frames `(N, S, S, 3)`."""
    model = onnx.load_model_from_string(network)
    values = {
        tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()) for tensor in model.graph.initializer
    }
    values["frames"] = torch.from_numpy(frames)
    for node in model.graph.node:
        attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        inputs = [values[name] for name in node.input if name]
        if node.op_type != "Resize":
            floats = {tensor.dtype for tensor in inputs if tensor.is_floating_point()}
            assert len(floats) <= 1, f"{node.name} mixes {floats}"
        with torch.no_grad():
            values[node.output[0]] = OPERATORS[node.op_type](*inputs, **attributes)
    return values


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, **attributes: Any) -> Tensor:
    return nn.functional.conv2d(x, weight, bias, attributes["strides"], attributes["pads"][:2])


def _pool(kind: Operator) -> Operator:
    def pool(
        x: Tensor, kernel_shape: list[int], pads: list[int], strides: tuple[int, ...] = (1, 1), **_: Any
    ) -> Tensor:
        return kind(x, kernel_shape, strides, pads[:2])

    return pool


def _resize(x: Tensor, scales: Tensor, **_: Any) -> Tensor:
    return nn.functional.interpolate(x, scale_factor=scales[2:].tolist(), mode="bilinear", align_corners=False)


OPERATORS: dict[str, Operator] = {
    "Cast": lambda x, to: x.to(TYPES[to]),
    "Transpose": lambda x, perm: x.permute(perm),
    "Sub": torch.sub,
    "Add": torch.add,
    "Conv": _conv,
    "Relu": torch.relu,
    "MaxPool": _pool(nn.functional.max_pool2d),
    "AveragePool": _pool(nn.functional.avg_pool2d),
    "Resize": _resize,
    "LeakyRelu": lambda x, alpha: nn.functional.leaky_relu(x, alpha),
    "GlobalMaxPool": lambda x: x.amax((2, 3), keepdim=True),
    "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
    "MatMul": torch.matmul,
    "Reshape": lambda x, shape: x.reshape(shape.tolist()),
    "Squeeze": lambda x, axes: x.squeeze(axes.tolist()),
    "Concat": lambda *parts, axis: torch.cat(parts, axis),
    "Flatten": lambda x, axis: x.flatten(axis),
}
